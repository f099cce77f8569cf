"""People and organizations made directly in the database, and clients signed in as them."""

import itertools
import json
from base64 import b64decode, b64encode
from typing import Any

import asyncpg
import httpx
import msgspec

from insula.core.ids import new_id, to_uuid
from insula.core.keyring import Keyring
from insula.core.tokens import credential_id, mint
from insula.settings import Settings

ORIGIN = "http://insula.test"
_serial = itertools.count(1)


def settings_for(**changes: Any) -> Settings:
    """Settings of the program under test."""
    values: dict[str, Any] = {
        "environment": "embedded",
        "secret_key": b64encode(b"0123456789abcdef0123456789abcdef").decode(),
        "base_url": ORIGIN,
        "smtp_host": "127.0.0.1",
        "smtp_port": 1,
        "smtp_tls": "none",
        "mail_from": "no-reply@insula.test",
        "pool_size": 4,
        "rate_per_minute": 100_000,
        "rate_organization_per_minute": 100_000,
        "rate_anonymous_per_minute": 100_000,
        "rate_sign_in_per_minute": 100_000,
    }
    return Settings(**(values | changes))


class Person(msgspec.Struct, frozen=True):
    """A user with a live session."""

    id: str
    email: str
    name: str
    token: str


class Member(msgspec.Struct, frozen=True):
    """A person in an organization, and a client signed in as them."""

    person: Person
    organization_id: str
    membership_id: str
    role: str
    client: httpx.AsyncClient

    def url(self, path: str) -> str:
        return f"/v1/organizations/{self.organization_id}{path}"


class World:
    """Makes what a test needs; nothing is shared between tests but the database."""

    def __init__(self, app: Any, settings: Settings, superuser: asyncpg.Connection) -> None:
        self.app, self.settings, self.superuser = app, settings, superuser
        self.keyring = Keyring.from_secret(b64decode(str(settings.secret_key)))

    def digest(self, token: str) -> bytes:
        """What the database knows of a token."""
        return self.keyring.digest(token)

    def client(self, token: str | None = None, **options: Any) -> httpx.AsyncClient:
        """Talks to the program as a browser or a script would; without a token, as a stranger."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False, client=("203.0.113.7", 4711))
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers, **options)

    async def person(self, name: str | None = None, email: str | None = None) -> Person:
        """A verified user, signed in."""
        number = next(_serial)
        name = name or f"Person {number}"
        email = email or f"person{number}.{new_id('x')[-8:]}@example.com"
        user_id = new_id("usr")
        await self.superuser.execute(
            'INSERT INTO app."user" (id, email, email_norm, name, email_verified_at) VALUES ($1, $2, $3, $4, now())',
            to_uuid("usr", user_id),
            email,
            email.casefold(),
            name,
        )
        return Person(user_id, email, name, await self.session(user_id))

    async def session(self, user_id: str) -> str:
        """A further session of a user; returns its token."""
        credential = credential_id()
        token = mint("session", credential)
        await self.superuser.execute(
            "INSERT INTO app.credential (id, kind, hash, user_id, expires_at)"
            " VALUES ($1, 'session', $2, $3, now() + interval '1 day')",
            to_uuid("crd", credential),
            self.digest(token),
            to_uuid("usr", user_id),
        )
        return token

    async def owner(self, name: str | None = None) -> Member:
        """A new organization and its owner."""
        person = await self.person()
        organization = new_id("org")
        tenant, slug = to_uuid("org", organization), f"org-{organization[-12:]}"
        await self.superuser.execute("INSERT INTO app.organization_slug VALUES ($1, $2)", slug, tenant)
        await self.superuser.execute(
            "INSERT INTO app.organization (tenant_id, id, name, slug) VALUES ($1, $1, $2, $3)",
            tenant,
            name or f"Organization {next(_serial)}",
            slug,
        )
        return await self.member(organization, "owner", person)

    async def allow(self, organization: str, **limits: int) -> None:
        """So many of each an organization may have, whatever the settings say."""
        await self.superuser.execute(
            "UPDATE app.organization SET limits = $2::text::jsonb WHERE tenant_id = $1",
            to_uuid("org", organization),
            json.dumps(limits),
        )

    async def member(self, organization: str, role: str, person: Person | None = None) -> Member:
        """A person in an organization."""
        person = person or await self.person()
        membership = new_id("mem")
        await self.superuser.execute(
            "INSERT INTO app.membership (tenant_id, id, user_id, role, name, name_norm, email, email_norm)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            to_uuid("org", organization),
            to_uuid("mem", membership),
            to_uuid("usr", person.id),
            role,
            person.name,
            person.name.casefold(),
            person.email,
            person.email.casefold(),
        )
        return Member(person, organization, membership, role, self.client(person.token))
