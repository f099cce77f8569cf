"""Keys in versions: ids say which one goes with them, and the database keeps them wrapped."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from insula.core import clock
from insula.core.db import Database
from insula.core.ids import new_id, to_text
from insula.core.keyring import FIRST, PURPOSES, Keyring, Purpose, Version, since
from insula.core.masters import CommandMaster, KeysUnreadable, SecretMaster
from insula.core.tokens import credential_id, mint
from insula.core.vault import Vault
from insula.rotation import DATA_KEYS, PEPPER, RotationError, rewrap, rotate_keys
from insula.settings import Settings
from tests.conftest import address, clone
from tests.kms import service_in

SECRET, OTHER = b"s" * 32, b"o" * 32


@pytest.fixture(scope="module")
async def owner_url(addresses: dict[str, str], settings: Settings) -> AsyncIterator[str]:
    """A database of its own: what is rotated here is nobody else's."""
    name = f"insula_keys_{settings.database_url.rpartition('_')[2]}"
    await clone(addresses["admin"], name)
    yield address(addresses["admin"], "app_migrator", name)


@pytest.fixture
async def superuser(addresses: dict[str, str], owner_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(addresses["admin"], database=owner_url.rpartition("/")[2])
    try:
        await connection.execute("TRUNCATE app.key, app.credential CASCADE")
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def platform(owner_url: str, superuser: asyncpg.Connection) -> AsyncIterator[Database]:
    database = await Database(owner_url.replace("app_migrator:app_migrator", "app_platform:app_platform")).open()
    yield database
    await database.close()


@pytest.fixture
def service(tmp_path: Path) -> str:
    return service_in(tmp_path)


def credential_of(moment: datetime) -> str:
    return to_text("crd", UUID(int=(int(moment.timestamp() * 1000) << 80) | 0x7000_8000_0000_0000_0001))


def test_a_token_goes_with_the_key_that_was_new_when_it_was_minted() -> None:
    moments = [datetime(2026, month, 1, tzinfo=UTC) for month in (1, 5, 9)]
    versions = [Version(since(moment), bytes([number]) * 32) for number, moment in enumerate(moments)]
    keyring, alone = Keyring({"credential": versions}), [Keyring({"credential": [version]}) for version in versions]
    for expected, moment in (
        (0, datetime(2025, 1, 1, tzinfo=UTC)),  # older than all: the oldest
        (0, moments[0]),
        (0, moments[1] - timedelta(milliseconds=1)),
        (1, moments[1]),
        (1, datetime(2026, 6, 1, tzinfo=UTC)),
        (2, datetime(2099, 1, 1, tzinfo=UTC)),
    ):
        token = mint("session", credential_of(moment))
        assert [keyring.digest(token) == one.digest(token) for one in alone] == [n == expected for n in range(3)]


def test_a_mailed_token_is_the_same_whichever_version_is_newest() -> None:
    credential = credential_id()
    old = Keyring.from_secret(SECRET)
    both = Keyring.from_secret(SECRET)
    tomorrow = Version(since(datetime.now(UTC) + timedelta(days=1)), b"n" * 32)
    both.use({purpose: [*found, tomorrow] for purpose, found in both._versions.items()})
    assert both.mailed("reset", credential, to="usr_1") == old.mailed("reset", credential, to="usr_1")
    assert both.mailed("reset", credential, to="usr_1") != old.mailed("reset", credential, to="usr_2")


def test_what_carries_no_time_is_made_with_a_new_version_from_its_time_on(monkeypatch: pytest.MonkeyPatch) -> None:
    old, both = Keyring.from_secret(SECRET), Keyring.from_secret(SECRET)
    now = datetime.now(UTC)
    later = Version(since(now + timedelta(minutes=5)), b"n" * 32)
    both.use({purpose: [*found, later] for purpose, found in both._versions.items()})
    assert both.cursors == [*old.cursors, later.key], "all others believe it before anybody signs with it"
    assert both.pseudonym("x") == old.pseudonym("x")
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=5))
    assert both.cursors == [later.key, *old.cursors]
    assert both.pseudonym("x") != old.pseudonym("x")


async def test_a_database_that_shows_no_keys_takes_none_away(platform: Database, superuser: asyncpg.Connection) -> None:
    keyring = Keyring()
    vault = Vault(platform, [SecretMaster(SECRET)], keyring)
    await vault.open()
    before = keyring.cursors
    await superuser.execute("DELETE FROM app.key WHERE purpose <> 'pseudonym'")
    with pytest.raises(KeysUnreadable, match="shows no key for"):
        await vault.look()
    assert keyring.cursors == before


async def test_the_first_process_makes_the_keys_and_all_others_read_them(
    platform: Database, superuser: asyncpg.Connection
) -> None:
    rings = [Keyring(), Keyring()]
    for keyring in rings:
        await Vault(platform, [SecretMaster(SECRET)], keyring).open()
    token = mint("session", credential_id())
    assert rings[0].digest(token) == rings[1].digest(token) == Keyring.from_secret(SECRET).digest(token)
    rows = await superuser.fetch("SELECT * FROM app.key")
    assert {row["purpose"] for row in rows} == set(PURPOSES)
    assert {row["active_from"] for row in rows} == {FIRST}
    keys = {version.key for found in rings[0]._versions.values() for version in found}
    stored = b"".join(row["wrapped"] for row in rows)
    assert not any(key in stored for key in (*keys, SECRET))


async def test_processes_that_start_together_make_the_keys_in_one_order(
    platform: Database, superuser: asyncpg.Connection
) -> None:
    await superuser.execute("DELETE FROM app.key")
    add = "INSERT INTO app.key (purpose, active_from, master, wrapped) VALUES ($1, $2, $3, $4)"
    master = SecretMaster(SECRET)
    other = superuser.transaction()
    await other.start()
    rows = [(name, FIRST, master.name, await master.wrap(master.first(name), name)) for name in PURPOSES]
    await superuser.execute(add, *rows[0])
    opening = asyncio.create_task(Vault(platform, [master], Keyring()).open())
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
    async with asyncio.timeout(10):
        while not await superuser.fetchval(waits):
            await asyncio.sleep(0.01)
    await superuser.executemany(add, rows[1:])  # would wait for what the other one has made, which waits for us
    await other.commit()
    await opening


async def test_another_master_key_is_told_which_one_is_missing(platform: Database) -> None:
    await Vault(platform, [SecretMaster(SECRET)], Keyring()).open()
    with pytest.raises(KeysUnreadable, match="INSULA_SECRET_KEY_PREVIOUS"):
        await Vault(platform, [SecretMaster(OTHER)], Keyring()).open()


async def test_a_key_that_was_altered_or_moved_to_another_purpose_does_not_open(
    platform: Database, superuser: asyncpg.Connection
) -> None:
    await Vault(platform, [SecretMaster(SECRET)], Keyring()).open()
    await superuser.execute(
        "UPDATE app.key SET wrapped = (SELECT wrapped FROM app.key WHERE purpose = 'cursor') WHERE purpose = 'credential'"
    )
    with pytest.raises(KeysUnreadable, match="credential was altered"):
        await Vault(platform, [SecretMaster(SECRET)], Keyring()).open()


async def test_a_rotation_adds_a_version_for_later_and_one_at_a_time(platform: Database, owner_url: str) -> None:
    keyring = Keyring()
    vault = Vault(platform, [SecretMaster(SECRET)], keyring)
    await vault.open()
    before, old = credential_id(), Keyring.from_secret(SECRET)
    active_from = await rotate_keys(owner_url, [SecretMaster(SECRET)], PEPPER, timedelta(seconds=60))
    with pytest.raises(RotationError, match="another rotation begins at"):
        await rotate_keys(owner_url, [SecretMaster(SECRET)], PEPPER, timedelta(seconds=60))
    await rotate_keys(owner_url, [SecretMaster(SECRET)], DATA_KEYS, timedelta(seconds=60))
    await vault.open()
    token, later = mint("session", before), mint("session", credential_of(active_from))
    assert keyring.digest(token) == old.digest(token)
    assert keyring.digest(later) != old.digest(later)
    assert len(keyring.cursors) == 2


class Slow(SecretMaster):
    """A service that takes its time."""

    async def wrap(self, key: bytes, purpose: Purpose) -> bytes:
        await asyncio.sleep(1)
        return await super().wrap(key, purpose)


async def test_the_lead_of_a_new_version_begins_when_the_last_of_them_is_wrapped(
    platform: Database, owner_url: str, superuser: asyncpg.Connection
) -> None:
    await Vault(platform, [SecretMaster(SECRET)], Keyring()).open()
    active_from = await rotate_keys(owner_url, [Slow(SECRET)], DATA_KEYS, timedelta(seconds=60))
    left = await superuser.fetchval("SELECT $1 - clock_timestamp()", active_from)
    assert left > timedelta(seconds=60 - len(DATA_KEYS) / 2)


async def test_a_new_version_is_wrapped_by_what_opens_the_one_before_which_every_process_has(
    platform: Database, owner_url: str, superuser: asyncpg.Connection
) -> None:
    await Vault(platform, [SecretMaster(SECRET)], Keyring()).open()
    with pytest.raises(KeysUnreadable, match="INSULA_SECRET_KEY_PREVIOUS"):
        await rotate_keys(owner_url, [SecretMaster(OTHER)], PEPPER, timedelta(0))
    assert await superuser.fetchval("SELECT count(*) FROM app.key") == len(PURPOSES)
    await rotate_keys(owner_url, [SecretMaster(OTHER), SecretMaster(SECRET)], PEPPER, timedelta(0))
    await Vault(platform, [SecretMaster(SECRET)], Keyring()).open()


async def test_a_version_is_forgotten_when_nothing_alive_was_made_with_it(
    platform: Database, owner_url: str, superuser: asyncpg.Connection
) -> None:
    await Vault(platform, [SecretMaster(SECRET)], Keyring()).open()
    await rotate_keys(owner_url, [SecretMaster(SECRET)], (*PEPPER, *DATA_KEYS), timedelta(0))
    await superuser.execute(
        "INSERT INTO app.credential (id, kind, hash, expires_at) VALUES ($1, 'reset', sha256('x'), now() + interval '1 hour')",
        UUID(int=1 << 80),
    )

    async def forgotten() -> set[Any]:
        async with platform.transaction(read_only=True) as db:
            await db.driver.execute("SELECT app.forget_keys()")
            await db.commit()
        rows = await superuser.fetch("SELECT purpose FROM app.key GROUP BY purpose HAVING count(*) = 1")
        return {row["purpose"] for row in rows}

    assert await forgotten() == set(), "a link of before is alive, cursors of before may be in use"
    await superuser.execute("UPDATE app.credential SET expires_at = now() - interval '1 second'")
    assert await forgotten() == set(), "by a clock that is behind, or in a transaction, more may still be made with it"
    await superuser.execute(
        "UPDATE app.key SET active_from = now() - interval '61 minutes' WHERE active_from > '2020-01-01'"
    )
    assert await forgotten() == {"credential", "mailed_token"}
    await superuser.execute(
        "UPDATE app.key SET active_from = now() - interval '31 days' WHERE active_from > '2020-01-01'"
    )
    assert await forgotten() == set(PURPOSES)
    await forgotten()
    assert await superuser.fetchval("SELECT count(*) FROM app.key") == len(PURPOSES)


async def test_a_new_master_key_wraps_what_the_old_one_did_and_no_key_changes(
    platform: Database, owner_url: str, superuser: asyncpg.Connection
) -> None:
    await Vault(platform, [SecretMaster(SECRET)], Keyring()).open()
    both = [SecretMaster(OTHER), SecretMaster(SECRET)]
    await rotate_keys(owner_url, [SecretMaster(SECRET)], PEPPER, timedelta(0))
    assert await rewrap(owner_url, both) == len(PURPOSES) + 1
    assert await rewrap(owner_url, both) == 0
    keyring, token = Keyring(), mint("session", credential_of(datetime(2026, 1, 1, tzinfo=UTC)))
    await Vault(platform, both[:1], keyring).open()
    assert keyring.digest(token) == Keyring.from_secret(SECRET).digest(token)
    with pytest.raises(KeysUnreadable):
        await Vault(platform, both[1:], Keyring()).open()


async def test_a_key_management_service_takes_the_secret_keys_place(
    platform: Database, owner_url: str, superuser: asyncpg.Connection, service: str
) -> None:
    await Vault(platform, [SecretMaster(SECRET)], Keyring()).open()
    masters = [CommandMaster(service), SecretMaster(SECRET)]
    await rewrap(owner_url, masters)
    keyring, token = Keyring(), mint("session", credential_id())
    await Vault(platform, masters[:1], keyring).open()
    assert keyring.digest(token) == Keyring.from_secret(SECRET).digest(token)
    await superuser.execute("TRUNCATE app.key")
    await Vault(platform, masters[:1], keyring).open()
    assert keyring.digest(token) != Keyring.from_secret(SECRET).digest(token), "a service's keys come from chance"


async def test_what_a_service_will_not_do_is_told_in_its_words(service: str, tmp_path: Path) -> None:
    with pytest.raises(KeysUnreadable, match="would not unwrap the key cursor: AccessDenied: not wrapped here"):
        await CommandMaster(service).unwrap(b"zz" + bytes(32), "cursor")
    with pytest.raises(KeysUnreadable, match="cannot be run"):
        await CommandMaster(str(tmp_path / "nothing")).wrap(bytes(32), "cursor")
    with pytest.raises(KeysUnreadable, match="not base64"):
        await CommandMaster("echo no:base64").wrap(bytes(32), "cursor")
    with pytest.raises(KeysUnreadable, match="has 3 bytes"):
        await CommandMaster(f"sh -c 'echo {b64encode(b'abc').decode()}'").unwrap(bytes(34), "cursor")


def test_settings_say_which_master_key_wraps_and_which_still_open(settings: Settings) -> None:
    new, old = (b64encode(key).decode() for key in (OTHER, SECRET))
    names = [SecretMaster(key).name for key in (OTHER, SECRET)]
    changed = msgspec.structs.replace(settings, secret_key=new, secret_key_previous=old)
    assert [master.name for master in changed.masters] == names
    changed = msgspec.structs.replace(changed, kms_command="kms --region here")
    assert [master.name for master in changed.masters] == ["kms", *names]


def test_ids_of_one_moment_begin_as_the_moment_does() -> None:
    now = datetime.now(UTC)
    assert since(now - timedelta(seconds=1)) < new_id("crd")[4:14] <= since(now + timedelta(seconds=1))
