"""The proof of isolation: what the catalogue of a database must say before the program serves anybody from it."""

import msgspec

from insula.core.catalogue.facts import read_catalogue
from insula.core.catalogue.grants import GRANT_RULES
from insula.core.catalogue.rights import RIGHT_RULES
from insula.core.catalogue.tables import TABLE_RULES
from insula.core.db import Database
from insula.core.pool import Driver

RULES = (*TABLE_RULES, *GRANT_RULES, *RIGHT_RULES)


class Finding(msgspec.Struct, frozen=True):
    """One way in which a tenant's data could reach another."""

    rule: str
    object: str
    wrong: str
    mend: str


class Unproven(Exception):
    """The database does not keep tenants apart: the program does not start."""

    def __init__(self, findings: list[Finding]) -> None:
        lines = [f"{finding.object}: {finding.wrong} ({finding.rule}). {finding.mend}" for finding in findings]
        super().__init__("\n".join(["The database does not prove that tenants are isolated:", *lines]))
        self.findings = findings


async def require_proven(database: Database) -> None:
    """At start-up, over app_rw's own connections. Raises Unproven, which names every finding."""
    async with database.transaction(read_only=True) as transaction:
        findings = await check_catalogue(transaction.driver)
    if findings:
        raise Unproven(findings)


async def check_catalogue(driver: Driver) -> list[Finding]:
    """Every broken rule, found in the transaction that the caller began; empty when isolation is proven."""
    catalogue = await read_catalogue(driver)
    return [
        Finding(rule.check.__name__, object_, wrong, rule.mend)
        for rule in RULES
        for object_, wrong in rule.check(catalogue)
    ]
