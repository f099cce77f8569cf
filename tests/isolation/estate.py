"""One of everything that an organization can have, and the requests that could reach it."""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import asyncpg
import httpx
import msgspec
from litestar import Litestar

from insula.core.http.guard import declared_routes
from insula.core.ids import new_id, to_text, to_uuid
from tests.factories import Member, World
from tests.resources import TABLES
from tests.rows import first, stock

SCOPE = "/v1/organizations/{organization_id}"
_serial = itertools.count(1)


class Estate(msgspec.Struct, frozen=True):
    """An organization's owner, and the ids of what is in it, by their prefix; each text in it holds ``word``."""

    owner: Member
    word: str
    ids: dict[str, list[str]]


class Route(msgspec.Struct, frozen=True):
    """A route of an organization."""

    method: str
    path: str
    body: Any
    references: dict[str, str]
    """The fields of its body that are ids, and their prefixes."""

    @property
    def parameters(self) -> list[str]:
        return [name for name in re.findall(r"\{(\w+)\}", self.path) if name != "organization_id"]

    async def call(self, client: httpx.AsyncClient, organization: str, **ids: str) -> httpx.Response:
        """Ask, with a body that is well-formed and whatever version there is."""
        options: dict[str, Any] = {"headers": {"if-match": "*"}}
        if self.method in {"POST", "PATCH", "PUT"} and self.body is not None:
            options["json"] = self.body
        return await client.request(self.method, self.path.format(organization_id=organization, **ids), **options)


def routes_of(app: Litestar) -> Iterator[Route]:
    """Every route of an organization, with an example of its body."""
    for method, path, handler in declared_routes(app):
        if path.startswith(SCOPE):
            data = handler.parsed_fn_signature.parameters.get("data")
            if data is None:
                yield Route(method, path, None, {})
            else:
                body = msgspec.inspect.type_info(data.annotation)
                yield Route(method, path, example(body), dict(references(body)))


def example(kind: Any, extra: dict[str, Any] | None = None) -> Any:
    """A value the API accepts, from the examples in its own documentation."""
    if extra and extra.get("examples"):
        return extra["examples"][0]
    match kind:
        case msgspec.inspect.Metadata():
            return example(kind.type, (extra or {}) | (kind.extra_json_schema or {}))
        case msgspec.inspect.StructType():
            return {field.encode_name: example(field.type) for field in kind.fields if field.required}
        case msgspec.inspect.ListType():
            return [example(kind.item_type)]
        case msgspec.inspect.UnionType():
            return example(kind.types[0])
        case msgspec.inspect.LiteralType():
            return kind.values[0]
        case msgspec.inspect.EnumType():
            return next(iter(kind.cls)).value
        case msgspec.inspect.IntType():
            return 1
    return "x"


def references(body: Any) -> Iterator[tuple[str, str]]:
    """The fields of a body that are ids, and their prefixes, as the documentation describes them."""
    for field in body.fields:
        for kind in kinds_of(field.type):
            pattern = (getattr(kind, "extra_json_schema", None) or {}).get("pattern", "")
            if found := re.match(r"\^([a-z]+)_\[0-7\]", pattern):
                yield field.encode_name, found[1]


def kinds_of(kind: Any) -> Iterator[Any]:
    """A type, and all that it is made of: what is described may be one of several, each described again."""
    yield kind
    for inner in (*getattr(kind, "types", ()), *([kind.type] if hasattr(kind, "type") else [])):
        yield from kinds_of(inner)


async def found(world: World, superuser: asyncpg.Connection) -> Estate:
    """An organization with two of everything."""
    word = f"estate{next(_serial)}x{new_id('x')[-6:]}"
    owner = await world.owner(name=f"Organization {word}")
    ids: dict[str, list[str]] = {"mem": [owner.membership_id]}

    async def make(prefix: str, path: str, **body: Any) -> str:
        made = await owner.client.post(owner.url(path), json=body)
        assert made.status_code == 201, made.text
        ids.setdefault(prefix, []).append(made.json()["id"])
        return str(made.json()["id"])

    for number in (1, 2):
        member = await world.member(owner.organization_id, "member")
        ids["mem"].append(member.membership_id)
        team = await make("tea", "/teams", name=f"Team {number} {word}")
        await make("prj", "/projects", name=f"Project {number} {word}", key=f"P{number}", team_id=team)
        gone = await make("prj", "/projects", name=f"Gone {number} {word}", key=f"G{number}")
        deleted = await owner.client.delete(owner.url(f"/projects/{gone}"), headers={"if-match": "*"})
        assert deleted.status_code == 204, deleted.text
        await make("inv", "/invitations", email=f"{word}{number}@example.com", role="member")
        for membership in ids["mem"][:2]:
            joined = await owner.client.put(owner.url(f"/teams/{team}/members/{membership}"))
            assert joined.status_code in {200, 201, 204}, joined.text
    events = (await owner.client.get(owner.url("/events"))).json()["data"]
    ids["evt"] = [event["id"] for event in events[:2]]
    await stock_the_rest(superuser, owner, word, ids)
    return Estate(owner, word, ids)


async def stock_the_rest(superuser: asyncpg.Connection, owner: Member, word: str, ids: dict[str, list[str]]) -> None:
    """What features bring that nobody has spelled out above."""
    tenant = to_uuid("org", owner.organization_id)
    for table in TABLES.values():
        if await first(superuser, table.fullname, tenant) is None:
            await stock(superuser, table.fullname, tenant, word)
    for prefix, table in TABLES.items():
        rows = await superuser.fetch(f"SELECT id FROM {table.fullname} WHERE tenant_id = $1 ORDER BY id", tenant)
        ids.setdefault(prefix, [to_text(prefix, row["id"]) for row in rows])


async def inventory(superuser: asyncpg.Connection, estate: Estate) -> dict[str, list[str]]:
    """Every row of the organization, to see that nothing has changed."""
    tables = await superuser.fetch(
        "SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND a.attname = 'tenant_id' ORDER BY 1"
    )
    tenant = to_uuid("org", estate.owner.organization_id)
    return {
        name: [
            row[0]
            for row in await superuser.fetch(
                f"SELECT to_jsonb(t)::text FROM {name} t WHERE tenant_id = $1 ORDER BY 1", tenant
            )
        ]
        for (name,) in tables
    }
