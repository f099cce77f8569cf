"""`insula doctor`: what is wrong with this installation, and how to mend it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import aiosmtplib
import asyncpg
import msgspec
from rich.console import Console

from insula.core.cache import connect
from insula.core.catalogue import by_remedy, lasting_findings
from insula.core.certificate import certificate_of
from insula.core.db import Database
from insula.core.feature import queues_of
from insula.core.keyring import Keyring
from insula.core.reach import Unreachable
from insula.core.readiness import MISSES
from insula.core.vault import Vault
from insula.plainly import AGAIN, OF_AN_UP, is_of_an_up
from insula.product import FEATURES
from insula.rotation import require_one_door_key
from insula.schema import NEEDED, RELEASE, SchemaBehind, require_migrated
from insula.settings import Settings, SettingsError
from insula.unencrypted import TRUSTED
from insula.worker import served

_NOT_COMPARED: Final = (
    ", but for what this program knows nothing of: the schema says that it is of another release. How contexts are read"
    " and signed was compared"
)

_BEHIND: Final = "That may follow from the schema, which is behind: `insula migrate` first, and look again."
_ENDS_SOON_SECONDS: Final = 14 * 86_400
_EVERYTHING: Final = "everything"
"""The cause beside which no other is worth looking for."""


class Diagnosis(msgspec.Struct, frozen=True):
    """One thing looked at; ``wrong`` is empty when it is well."""

    subject: str
    wrong: str = ""
    mend: str = ""
    same: str = ""
    """Equal for those that have one cause."""


async def examine(settings: Settings, console: Console) -> bool:
    """Look at everything, print each finding, of those with one cause the first; returns whether all is well."""
    well, told, untold = True, set[str](), list[str]()
    for look in (_instance, _connections, _databases, _schema, _catalogue, _keys, _door_key, _redis, _queues, _mail):
        async for diagnosis in look(settings):
            well = well and not diagnosis.wrong
            if diagnosis.same in told:
                untold.append(diagnosis.subject)
                continue
            if diagnosis.same:
                told.add(diagnosis.same)
            _print(diagnosis, console)
        if _EVERYTHING in told:
            break
    if untold:
        console.print(f"For the same reason not looked at: {', '.join(untold)}.", style="dim", highlight=False)
    return well


def _print(diagnosis: Diagnosis, console: Console) -> None:
    mark = "[red]wrong[/]" if diagnosis.wrong else "[green]well [/]"
    console.print(f"{mark}  {diagnosis.subject}{': ' * bool(diagnosis.wrong)}{diagnosis.wrong}", highlight=False)
    if diagnosis.mend:
        console.print(f"       {diagnosis.mend}", style="dim", highlight=False)


async def _instance(settings: Settings) -> AsyncIterator[Diagnosis]:
    """With the database of an `insula up` all of it is gone."""
    if is_of_an_up(settings.environment, urlsplit(settings.database_url).hostname):
        try:
            await _open(settings.database_url)
        except Unreachable as error:
            if error.is_away:
                yield Diagnosis(OF_AN_UP, f"it has ended: {error}", AGAIN, _EVERYTHING)


async def _connections(settings: Settings) -> AsyncIterator[Diagnosis]:
    """What is wrong with the certificate's files is told of the settings; here, how long it is good for."""
    if settings.trusted_network:
        yield Diagnosis(f"INSULA_TRUSTED_NETWORK: {TRUSTED}")
    certificate = certificate_of(settings.tls_certificate_file, settings.tls_key_file)
    if certificate is not None:
        subject = f"the certificate in {certificate.chain}"
        if certificate.remaining_seconds < _ENDS_SOON_SECONDS:
            wrong = f"it ends on {certificate.ends:%Y-%m-%d at %H:%M} UTC"
            yield Diagnosis(subject, wrong, "Renew it; processes read it at their next start.")
        else:
            yield Diagnosis(subject)


async def _databases(settings: Settings) -> AsyncIterator[Diagnosis]:
    assert settings.identity_database_url is not None
    logins = {
        "INSULA_DATABASE_URL": settings.database_url,
        "INSULA_IDENTITY_DATABASE_URL": settings.identity_database_url,
        "INSULA_PLATFORM_DATABASE_URL": settings.platform_database_url,
    }
    for name, url in logins.items():
        yield await _tried(name, partial(_open, url), "Is the server up, the login provisioned, migrate run?")


async def _schema(settings: Settings) -> AsyncIterator[Diagnosis]:
    async def compare() -> None:
        async with _opened(settings.database_url) as database:
            await require_migrated(database)

    yield await _tried(f"the schema, revision {NEEDED} or newer", compare, "`insula migrate` brings it up to date.")


async def _catalogue(settings: Settings) -> AsyncIterator[Diagnosis]:
    try:
        async with _opened(settings.database_url) as database:
            revision, findings = await lasting_findings(database, RELEASE)
            behind = bool(findings) and await _is_behind(database)
    except Exception as error:  # noqa: BLE001  # the connection itself was diagnosed above
        wrong, mend = f"could not be made: {error}", "Mend the database first."
        yield Diagnosis("the proof of isolation", wrong, mend, _same(error))
        return
    if not findings:
        yield Diagnosis(f"the proof of isolation{'' if revision == RELEASE.revision else _NOT_COMPARED}")
    for mend, found in ({_BEHIND: findings} if behind else by_remedy(findings)).items():
        for finding in found:
            yield Diagnosis(f"isolation, {finding.object}", finding.wrong, mend if finding is found[-1] else "")


async def _is_behind(database: Database) -> bool:
    try:
        await require_migrated(database)
    except SchemaBehind as error:
        return error.found != ""  # whoever overwrote what it says of itself is told of that
    return False


async def _keys(settings: Settings) -> AsyncIterator[Diagnosis]:
    async def read() -> None:
        async with _opened(settings.platform_database_url) as database:
            await Vault(database, settings.masters, Keyring()).open()

    yield await _tried(
        "the program's keys", read, "See INSULA_SECRET_KEY_PREVIOUS; `insula rotate master-key` wraps them anew."
    )


async def _door_key(settings: Settings) -> AsyncIterator[Diagnosis]:
    if settings.owner_database_url is None:
        return
    attempt = partial(require_one_door_key, settings.owner_database_url)
    yield await _tried("the door's key", attempt, "`insula rotate door-key` ends what was interrupted.")


async def _redis(settings: Settings) -> AsyncIterator[Diagnosis]:
    async def ping(url: str) -> None:
        redis = connect(url)
        try:
            await redis.get("insula:doctor")
        finally:
            await redis.aclose()

    told = "Without it limits fall back to each process" + ("." if settings.jobs_redis_url else " and jobs wait.")
    yield await _tried("INSULA_REDIS_URL", partial(ping, settings.redis_url), told)
    if settings.jobs_redis_url:
        yield await _tried("INSULA_JOBS_REDIS_URL", partial(ping, settings.jobs_redis_url), "Without it jobs wait.")


async def _queues(settings: Settings) -> AsyncIterator[Diagnosis]:
    known = queues_of(FEATURES)
    subject = f"the queues of jobs: {', '.join(known)}"
    try:
        served(settings.worker_queues, known)
    except SettingsError as error:
        yield Diagnosis(
            "queues of a worker", str(error), "A worker does not start with it: name queues that are there."
        )
    try:
        async with _opened(settings.platform_database_url) as database, database.transaction(read_only=True) as db:
            others = await db.driver.fetchval("SELECT app.other_queues($1)", known)
    except Exception as error:  # noqa: BLE001  # the connection itself was diagnosed above
        yield Diagnosis(subject, _told(error), "Mend the database first.", _same(error))
        return
    if others:
        wrong = f"jobs are due in {', '.join(others)}, which no task of this program names"
        yield Diagnosis(subject, wrong, "A worker of the release that asked for them runs them.")
    else:
        yield Diagnosis(subject)


async def _mail(settings: Settings) -> AsyncIterator[Diagnosis]:
    async def greet() -> None:
        client = aiosmtplib.SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            timeout=5,
            use_tls=settings.smtp_tls == "tls",
            start_tls=settings.smtp_tls == "starttls",
        )
        async with client:
            if settings.smtp_username:
                await client.login(settings.smtp_username, settings.smtp_password or "")

    yield await _tried("INSULA_SMTP_HOST", greet, "Mail waits in the outbox meanwhile; nothing is lost.")


async def _open(url: str) -> None:
    async with _opened(url) as database:
        with suppress(asyncpg.UndefinedFunctionError):  # there is no schema yet, which is a finding of its own
            async with database.transaction(read_only=True):
                pass


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Database]:
    database = Database(url, pool_size=1)
    try:
        await database.open()
        yield database
    finally:
        await database.close()


async def _tried(subject: str, attempt: Callable[[], Awaitable[None]], mend: str) -> Diagnosis:
    try:
        await attempt()
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the diagnosis
        return Diagnosis(subject, _told(error), mend, _same(error))
    return Diagnosis(subject)


def _told(error: Exception) -> str:
    """Its class only where it does not say by itself what is wrong: a timeout is empty, a KeyError a word."""
    return said if " " in (said := str(error)) else f"{type(error).__name__}: {said}"


def _same(error: Exception) -> str:
    if isinstance(error, (SchemaBehind, *MISSES)):
        return "the schema"
    return error.same if isinstance(error, Unreachable) else ""
