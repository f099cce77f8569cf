"""The proof of isolation: what the catalogue of a database must say before the program serves anybody from it."""

import re
from typing import Final

import asyncpg
import msgspec
import structlog

from insula.core.catalogue.facts import read_catalogue
from insula.core.catalogue.grants import GRANT_RULES
from insula.core.catalogue.inventory import context_of, names_in, read_inventory
from insula.core.catalogue.openings import DOOR_RULES
from insula.core.catalogue.parts import PART_RULES
from insula.core.catalogue.rights import RIGHT_RULES
from insula.core.catalogue.tables import TABLE_RULES
from insula.core.db import Database
from insula.core.mendable import Mendable
from insula.core.pool import Driver

# Migrations write it there: what is said about a schema can be read by every login, without a right to any table.
_REVISION: Final = "SELECT obj_description('app'::regnamespace, 'pg_namespace')"
_LOOKS_AGAIN: Final = 4
"""After the first: months of events are dropped in one transaction, so the second nearly always decides."""
_WAITS: Final = 12
"""Each as long as a transaction waits for a lock: a minute in all."""
_WORD: Final = re.compile(r"(own_)?[0-9]{4}")
_DIFFERS: Final = "the_schema_is_the_releases"
_SCHEMA_DIFFERS: Final = "The schema differs from migrations/inventory.txt, which says what this release is made for:"
_MEND: Final = (
    "Somebody changed the schema by hand, or migrations/inventory.txt is not that of these migrations: whoever writes"
    " one writes it anew, with `./insula test tests/architecture/test_golden.py --write-golden`."
)

_log = structlog.get_logger("insula.catalogue")

RULES = (*TABLE_RULES, *PART_RULES, *GRANT_RULES, *DOOR_RULES, *RIGHT_RULES)


class Finding(msgspec.Struct, frozen=True):
    """One way in which a tenant's data could reach another."""

    rule: str
    object: str
    wrong: str
    mend: str


class Unproven(Mendable):
    """The database does not keep tenants apart, or is not the one of this release: the program does not start."""

    def __init__(self, findings: list[Finding]) -> None:
        differs = all(finding.rule == _DIFFERS for finding in findings)
        lines = [_SCHEMA_DIFFERS if differs else "The database does not prove that tenants are isolated:"]
        for mend, found in by_remedy(findings).items():
            *before, last = [f"{finding.object}: {finding.wrong} ({finding.rule})." for finding in found]
            lines += [*before, last, mend] if before else [f"{last} {mend}"]
        super().__init__("\n".join(lines))
        self.findings = findings


def by_remedy(findings: list[Finding]) -> dict[str, list[Finding]]:
    """What mends them -> the findings that it mends: it need be told once."""
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.mend, []).append(finding)
    return found


class StillLocked(Mendable):
    """The catalogue cannot be read: nothing is proven, and the program does not start."""

    def __init__(self) -> None:
        super().__init__(
            "A table is locked, by a migration perhaps (pg_locks says by whom): what it is made of cannot be looked at."
        )


class Release(msgspec.Struct, frozen=True):
    """What a database of this release is made of."""

    revision: str
    inventory: tuple[str, ...]


async def require_proven(database: Database, release: Release) -> None:
    """At start-up, over app_rw's own connections. Raises Unproven, which names every finding, and StillLocked."""
    revision, findings = await lasting_findings(database, release)
    if findings:
        raise Unproven(findings)
    if revision != release.revision:
        _log.warning("the schema is of another release: what this program does not know was not compared")


async def lasting_findings(database: Database, release: Release) -> tuple[str, list[Finding]]:
    """The schema's revision, and what was found twice in a row.

    Months of events are made and dropped while programs start: what one question saw, the next may not. Where
    every look finds others, those of the last. Raises StillLocked.
    """
    revision, findings = await _look(database, release)
    for _ in range(_LOOKS_AGAIN):
        if not findings:
            break
        before = findings
        revision, findings = await _look(database, release)
        if lasting := [finding for finding in findings if finding in before]:
            return revision, lasting
    return revision, findings


async def _look(database: Database, release: Release) -> tuple[str, list[Finding]]:
    """One look. Whoever holds a table, as a migration does, is waited for."""
    for _ in range(_WAITS):
        try:
            return await _look_now(database, release)
        except asyncpg.LockNotAvailableError:
            _log.warning("the start waits for whoever has locked a table")
    raise StillLocked


async def _look_now(database: Database, release: Release) -> tuple[str, list[Finding]]:
    """At one revision: where a migration was committed meanwhile, once more."""
    before: str | None = None
    revision = ""
    while before != revision:
        async with database.transaction(read_only=True) as transaction:
            before = await revision_of(transaction.driver)
            findings = await check_catalogue(transaction.driver, release)
            revision = await revision_of(transaction.driver)
    return revision, findings


async def check_catalogue(driver: Driver, release: Release | None = None) -> list[Finding]:
    """Every broken rule, found in the transaction that the caller began; empty when isolation is proven.

    A database at the release's own revision must also be made of the same things; one of another release has others,
    which stand on lists that this program does not have, but reads and signs contexts as ours does.
    """
    said = await revision_of(driver) if release is not None else ""
    other = release is not None and said != release.revision
    known = names_in(release.inventory) if release is not None else set()
    catalogue = await read_catalogue(driver)
    findings = [
        Finding(rule.check.__name__, object_, wrong, rule.mend)
        for rule in RULES
        for object_, wrong in rule.check(catalogue)
        if not (other and rule.listed and object_ not in known)
    ]
    if release is not None:
        findings += _unreadable(said)
        found, expected = set(await read_inventory(driver)), set(release.inventory)
        if other:
            found, expected = context_of(found), context_of(expected)
        findings += [_unlike(line, "should not be there") for line in sorted(found - expected)]
        findings += [_unlike(line, "is missing") for line in sorted(expected - found)]
    return findings


async def revision_of(driver: Driver) -> str:
    """Which revision the schema says it is at, as in ``0014 own_0003``; empty where it says nothing."""
    found: str | None = await driver.fetchval(_REVISION)
    return found or ""


def revisions_in(said: str) -> list[str]:
    """The revisions that a schema says it is at, one of each branch at most; none where it says anything else."""
    words = said.removesuffix(" unfinished").split(" ")
    once = len({word[:-4] for word in words}) == len(words)
    return words if once and all(_WORD.fullmatch(word) for word in words) else []


def _unreadable(said: str) -> list[Finding]:
    """A remark there would pass as the name of another release, with which nothing is compared."""
    if not said or revisions_in(said):
        return []
    mend = "`insula migrate` writes it anew; keep remarks elsewhere."
    return [Finding("the_schema_says_its_revision", "schema app", f"its comment is no revision: {said!r}", mend)]


def _unlike(line: str, wrong: str) -> Finding:
    return Finding(_DIFFERS, line, wrong, _MEND)
