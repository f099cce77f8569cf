"""What the features declare of their resources: the prefixes of ids, the tables of organizations, the lists."""

import re
from collections.abc import Iterator
from typing import Any, Final, get_origin, get_type_hints

import msgspec
import sqlalchemy as sa
from litestar.handlers import HTTPRouteHandler
from sqlalchemy.sql.util import find_tables

from insula.core.http.openapi import LISTING
from insula.core.listing import Listing, Page
from insula.core.models import Base, TenantOwned
from insula.product import FEATURES

CORE_PREFIXES: Final = {"job": "job"}
"""Ids that core mints for itself."""
PREFIXES: Final = {
    noun: prefix
    for prefixes in (CORE_PREFIXES, *(feature.id_prefixes for feature in FEATURES))
    for prefix, noun in prefixes.items()
}
"""What an id names -> its prefix."""
TABLES: Final[dict[str, sa.Table]] = {
    mapper.class_.ID_PREFIX: mapper.class_.__table__
    for mapper in Base.registry.mappers
    if issubclass(mapper.class_, TenantOwned)
}
"""Prefix -> the table of organizations that holds what has it."""
OWNED_TABLES: Final[dict[sa.Table, str]] = {
    table: owner
    for table in Base.metadata.sorted_tables
    if (owner := next(iter(table.primary_key.columns)).name) in {"tenant_id", "user_id"}
}
"""The tables of organizations and of people that models are of -> the column that says whose a row is."""


class ListRoute(msgspec.Struct, frozen=True):
    """A route that answers with a page."""

    name: str
    path: str
    listing: Listing[Any] | None
    """None: it was forgotten, which the tests of the API's description say."""

    @property
    def tables(self) -> list[sa.Table]:
        """Those of organizations or people that it reads."""
        read = find_tables(self.listing._statement, include_joins=True) if self.listing else []
        return [table for table in dict.fromkeys(read) if table in OWNED_TABLES]

    @property
    def parameters(self) -> list[str]:
        """What its path names beside the organization."""
        return [name for name in re.findall(r"\{(\w+):", self.path) if name != "organization_id"]


def prefix_of(parameter: str) -> str:
    """The prefix of the ids that a path's parameter stands for: ``ticket_id`` is that of a ticket."""
    return PREFIXES[parameter.removesuffix("_id").replace("_", " ")]


def list_routes() -> Iterator[ListRoute]:
    """Every list of the product."""
    for controller in (controller for feature in FEATURES for controller in feature.controllers):
        for handler in vars(controller).values():
            if isinstance(handler, HTTPRouteHandler) and get_origin(get_type_hints(handler.fn).get("return")) is Page:
                for path in handler.paths:
                    whole = vars(controller).get("path", "") + path
                    yield ListRoute(handler.fn.__name__, whole, handler.opt.get(LISTING))
