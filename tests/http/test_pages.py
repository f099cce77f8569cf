"""Lists: pages in a stated order, each row exactly once, and cursors that are worth nothing anywhere else."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import httpx
import pytest

from insula.core.listing import normalize
from tests.factories import Member, World

NAMES = [
    "Alpha",
    "alpha",
    "ALPHA",
    "Ärger",
    "ärger",
    "Zebra",
    "ß",
    "SS",
    "ss",
    "İstanbul",
    "ı",
    "K",
    "K",
    "a b",
    "a  b",
    "'; DROP TABLE app.project; --",
    '"',
    "\\",
    "%",
    "_",
    "😀" * 200,
    "ﬀ" * 200,
    "Ω",
    "Ω",
    "日本",
    "0",
    "9",
    "10",
]


async def planted(world: World) -> Member:
    owner = await world.owner()
    for number, name in enumerate(NAMES):
        body = {"name": name, "key": f"P{number}", "status": "paused" if number % 3 else "active"}
        answer = await owner.client.post(owner.url("/projects"), json=body)
        assert answer.status_code == 201, answer.text
    return owner


@pytest.fixture(scope="module")
async def owner(world: World) -> Member:
    """The owner of an organization with many projects."""
    return await planted(world)


def next_of(answer: httpx.Response) -> str | None:
    """The address in the Link header, and that it says what the body says."""
    found = answer.links.get("next")
    assert (found is None) == (answer.json()["next_cursor"] is None)
    if found is None:
        return None
    assert httpx.URL(found["url"]).params["cursor"] == answer.json()["next_cursor"]
    return str(found["url"])


async def followed(client: httpx.AsyncClient, url: str | None) -> list[dict[str, Any]]:
    """Every row, from page to page."""
    rows: list[dict[str, Any]] = []
    while url is not None:
        answer = await client.get(url)
        assert answer.status_code == 200, answer.text
        rows += answer.json()["data"]
        url = next_of(answer)
    return rows


@pytest.mark.parametrize("query", ["sort=name&limit=1&status=active", "status=active&limit=1&sort=name"])
async def test_the_next_page_is_asked_for_with_the_same_parameters_in_the_same_order(owner: Member, query: str) -> None:
    first = await owner.client.get(owner.url(f"/projects?{query}"))
    assert next_of(first) == f"{owner.url('/projects')}?{query}&cursor={first.json()['next_cursor']}"


@pytest.mark.parametrize("limit", [1, 3, 7, 28, 100])
@pytest.mark.parametrize("sort", ["created_at", "-created_at", "name", "-name", "updated_at", "-updated_at"])
async def test_a_list_followed_to_its_end_shows_each_row_once_and_in_order(
    owner: Member, sort: str, limit: int
) -> None:
    rows = await followed(owner.client, owner.url(f"/projects?sort={sort}&limit={limit}"))
    assert sorted(row["key"] for row in rows) == sorted(f"P{number}" for number in range(len(NAMES)))
    field = sort.removeprefix("-")
    values = [normalize(row[field]).encode() if field == "name" else row[field] for row in rows]
    assert values == sorted(values, reverse=sort.startswith("-"))


async def test_filters_hold_on_every_page(owner: Member) -> None:
    rows = await followed(owner.client, owner.url("/projects?status=paused&sort=name&limit=2"))
    assert len(rows) == sum(1 for number in range(len(NAMES)) if number % 3)
    assert {row["status"] for row in rows} == {"paused"}
    alphas = await followed(owner.client, owner.url("/projects?name_prefix=ALPHA&limit=1"))
    assert {row["name"] for row in alphas} == {"Alpha", "alpha", "ALPHA"}


async def test_rows_that_come_or_go_between_pages_move_no_other(world: World) -> None:
    owner = await planted(world)
    first = (await owner.client.get(owner.url("/projects?sort=created_at&limit=5"))).json()
    await owner.client.delete(owner.url(f"/projects/{first['data'][0]['id']}"), headers={"if-match": "*"})
    await owner.client.post(owner.url("/projects"), json={"name": "late", "key": "LATE"})
    rest = await followed(owner.client, owner.url(f"/projects?sort=created_at&limit=5&cursor={first['next_cursor']}"))
    seen = [row["key"] for row in first["data"] + rest]
    assert seen == [f"P{number}" for number in range(len(NAMES))] + ["LATE"]


async def test_an_empty_list_is_a_page_without_a_next(world: World) -> None:
    owner = await world.owner()
    answer = await owner.client.get(owner.url("/projects"))
    assert answer.json() == {"data": [], "next_cursor": None}
    assert "link" not in answer.headers


async def test_a_full_last_page_is_the_last(owner: Member) -> None:
    answer = await owner.client.get(owner.url(f"/projects?limit={len(NAMES)}"))
    assert next_of(answer) is None
    assert len(answer.json()["data"]) == len(NAMES)


@pytest.mark.attack(119)
async def test_a_cursor_is_worth_something_only_where_it_was_given(world: World, owner: Member) -> None:
    async def cursor_of(member: Member, query: str) -> str:
        found: str = (await member.client.get(member.url(f"/projects?limit=1&{query}"))).json()["next_cursor"]
        return found

    other = await planted(world)
    cursor = await cursor_of(owner, "sort=name")
    refused = [
        owner.url(f"/projects?cursor={cursor}"),
        owner.url(f"/projects?cursor={cursor}&sort=-name"),
        owner.url(f"/projects?cursor={cursor}&sort=name&status=active"),
        owner.url(f"/projects?cursor={await cursor_of(other, 'sort=name')}&sort=name"),
        owner.url(f"/members?cursor={cursor}&sort=name"),
        owner.url(f"/deleted-projects?cursor={await cursor_of(owner, 'sort=created_at')}&sort=created_at"),
        f"/v1/me/organizations?cursor={cursor}",
    ]
    for url in refused:
        answer = await owner.client.get(url)
        assert answer.status_code == 400, url
        assert answer.json()["errors"][0]["pointer"] == "query/cursor"
    assert (await owner.client.get(owner.url(f"/projects?cursor={cursor}&sort=name&limit=50"))).status_code == 200


@pytest.mark.attack(119)
async def test_an_altered_cursor_is_refused(owner: Member) -> None:
    cursor = (await owner.client.get(owner.url("/projects?limit=1"))).json()["next_cursor"]
    sealed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    forged = [
        urlsafe_b64encode(bytes([*sealed[:at], sealed[at] ^ 1, *sealed[at + 1 :]])).decode().rstrip("=")
        for at in range(len(sealed))
    ]
    forged += ["", "=", "a", "AAAA", "%00", "é", cursor[:-2], cursor + "AAAA", cursor[16:], "😀", " ", cursor * 10]
    for each in forged:
        answer = await owner.client.get(owner.url("/projects"), params={"cursor": each})
        assert answer.status_code == 400, each
