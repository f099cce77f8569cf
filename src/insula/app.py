"""The API: every feature's controllers, the guard, the transaction, the error table."""

from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial

import msgspec
from litestar import Litestar
from litestar.datastructures import State
from redis.asyncio import Redis

from insula.core.cache import connect
from insula.core.catalogue import require_proven
from insula.core.db import Database
from insula.core.feature import refuse_shared_prefixes
from insula.core.http.admission import RateLimits
from insula.core.http.answer_headers import answer_headers
from insula.core.http.compression import Compression
from insula.core.http.dependencies import DEPENDENCIES, provide_in_order
from insula.core.http.documentation import Description, DocumentationController
from insula.core.http.door import Doors, RequestTransaction
from insula.core.http.guard import guard, refuse_undeclared
from insula.core.http.health import HEALTH_ROUTES
from insula.core.http.hosts import OneHost
from insula.core.http.lists import refuse_not_offered
from insula.core.http.methods import HeadAsGet, creations_of, methods_of
from insula.core.http.openapi import describe
from insula.core.http.parameters import before_handler, learn_queries
from insula.core.http.problems import handlers
from insula.core.http.rate_limit import AddressRateLimit
from insula.core.http.reply import Reply
from insula.core.keyring import Keyring
from insula.core.limits import Limit, Limiter
from insula.core.metrics import watch_pool
from insula.core.passwords import Passwords
from insula.core.permissions import Permissions
from insula.core.readiness import Readiness, knocking
from insula.core.replica import Replica
from insula.core.vault import Vault
from insula.pages import PageController
from insula.product import FEATURES
from insula.schema import RELEASE, require_migrated
from insula.settings import Settings, load


class Databases(msgspec.Struct, frozen=True):
    """One login each: requests, sign-in, operators."""

    rw: Database
    identity: Database
    platform: Database
    replica: Database | None

    @classmethod
    def of(cls, settings: Settings) -> "Databases":
        def database(url: str, *, standby: bool = False) -> Database:
            pool, old = settings.pool_size, settings.pgbouncer
            return Database(url, pool_size=pool, old_pgbouncer=old, standby=standby)

        assert settings.identity_database_url is not None
        return cls(
            database(settings.database_url),
            database(settings.identity_database_url),
            database(settings.platform_database_url),
            None if settings.replica_database_url is None else database(settings.replica_database_url, standby=True),
        )


class Parts(msgspec.Struct, frozen=True):
    """What the API is made of, and what lives as long as it does."""

    databases: Databases
    redis: Redis
    jobs_redis: Redis
    """Perhaps the same."""
    keyring: Keyring
    vault: Vault
    replica: Replica | None
    limiter: Limiter
    permissions: Permissions

    @classmethod
    def of(cls, settings: Settings) -> "Parts":
        redis, databases, keyring = connect(settings.redis_url), Databases.of(settings), Keyring()
        return cls(
            databases=databases,
            redis=redis,
            jobs_redis=connect(settings.jobs_redis_url) if settings.jobs_redis_url else redis,
            keyring=keyring,
            vault=Vault(databases.platform, settings.masters, keyring),
            replica=None if databases.replica is None else Replica(databases.replica, databases.platform),
            limiter=Limiter(redis),
            permissions=Permissions(permission for feature in FEATURES for permission in feature.permissions),
        )


def create_litestar(settings: Settings) -> Litestar:
    """The API without its outermost middleware."""
    parts = Parts.of(settings)
    addresses = _address_limit(settings, parts.limiter)
    routes = [*HEALTH_ROUTES, *(controller for feature in FEATURES for controller in feature.controllers)]
    app = Litestar(
        route_handlers=[*routes, DocumentationController, PageController],
        before_request=before_handler,
        before_send=[answer_headers(settings.base_url)],
        middleware=[
            Compression(),
            addresses,
            RequestTransaction(_doors(settings, parts, addresses), guard),
        ],
        dependencies=dict(DEPENDENCIES),
        exception_handlers=handlers(
            {name: error for feature in FEATURES for name, error in feature.constraints.items()}
        ),
        response_class=Reply,
        request_max_body_size=settings.request_max_bytes,
        openapi_config=None,
        lifespan=[_lifespan(parts)],
        state=_state(settings, parts),
        logging_config=None,  # core/logs.py configures logging once for the process
        debug=False,
    )
    app.asgi_handler = HeadAsGet(OneHost(app.asgi_handler))
    app.state.methods = methods_of(app)
    app.state.creations = creations_of(app)
    refuse_shared_prefixes(FEATURES)
    refuse_undeclared(app)
    provide_in_order(app)
    learn_queries(app)
    app.state.description = Description(partial(describe, app, routes))
    refuse_not_offered(app)
    return app


def create_unconnected() -> Litestar:
    """One that can describe itself, and that is never served."""
    return create_litestar(
        load(
            {
                "INSULA_ENVIRONMENT": "embedded",
                "INSULA_SECRET_KEY": b64encode(bytes(range(32))).decode(),
                "INSULA_DATABASE_URL": "postgresql://app_rw@localhost/insula",
                "INSULA_IDENTITY_DATABASE_URL": "postgresql://app_identity@localhost/insula",
                "INSULA_PLATFORM_DATABASE_URL": "postgresql://app_platform@localhost/insula",
                "INSULA_REDIS_URL": "redis://localhost",
                "INSULA_BASE_URL": "http://localhost",
                "INSULA_SMTP_HOST": "localhost",
                "INSULA_MAIL_FROM": "no-reply@localhost",
            }
        )
    )


def _doors(settings: Settings, parts: Parts, addresses: AddressRateLimit) -> Doors:
    """How requests come in, and how many may."""
    return Doors(
        database=parts.databases.rw,
        platform=parts.databases.platform,
        replica=parts.replica,
        permissions=parts.permissions,
        keyring=parts.keyring,
        origin=settings.base_url.rstrip("/"),
        limits={
            "members": settings.limit_members,
            "projects": settings.limit_projects,
            "teams": settings.limit_teams,
        },
        admission=RateLimits(
            parts.jobs_redis,
            parts.limiter,
            addresses,
            credential=Limit("credential", settings.rate_per_minute, 60),
            organization=Limit("organization", settings.rate_organization_per_minute, 60),
        ),
        body_limit=settings.request_max_bytes,
    )


def _address_limit(settings: Settings, limiter: Limiter) -> AddressRateLimit:
    return AddressRateLimit(
        limiter,
        anonymous=Limit("address", settings.rate_anonymous_per_minute, 60),
        refusals=Limit("refused-credentials", settings.rate_anonymous_per_minute, 60, strict=True),
        trusted_hops=settings.trusted_proxies,
    )


def _state(settings: Settings, parts: Parts) -> State:
    """What features find on the application: their providers build services from it."""
    return State(
        {
            "settings": settings,
            "keyring": parts.keyring,
            "databases": parts.databases,
            "redis": parts.redis,
            "permissions": parts.permissions,
            "features": FEATURES,
            "readiness": Readiness({"database": knocking(parts.databases.rw)}),
            "limiter": parts.limiter,
            "passwords": Passwords(parallel=settings.argon2_parallel, min_length=settings.password_min_length),
        }
    )


def _watch(database: Database) -> None:
    watch_pool(database.login, lambda: database.size, lambda: database.in_use, lambda: database.waiting)


def _lifespan(parts: Parts) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    databases = (parts.databases.rw, parts.databases.identity, parts.databases.platform)

    @asynccontextmanager
    async def connected(_: Litestar) -> AsyncIterator[None]:
        try:
            for database in databases:
                await database.open()
                _watch(database)
            await require_migrated(parts.databases.rw)
            await require_proven(parts.databases.rw, RELEASE)
            async with parts.vault.watched(), parts.replica.watched() if parts.replica else nullcontext():
                yield
        finally:
            for database in databases:
                await database.close()
            for redis in (parts.redis, parts.jobs_redis):
                await redis.aclose()

    return connected
