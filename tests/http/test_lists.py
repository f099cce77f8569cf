"""What a list takes: what it offers, or the program does not start; and ids that can be some, or the request is wrong."""

from typing import Any

import pytest
import sqlalchemy as sa
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from insula import app as program
from insula.core.feature import Feature
from insula.core.http.lists import NotOffered
from insula.core.ids import TypeID, example_of
from insula.core.listing import Filter, Listing, Page, PageRequest
from insula.core.schemas import Read
from insula.settings import Settings
from tests.factories import World

THINGS = sa.table(
    "thing", sa.column("id", TypeID("thg")), sa.column("status", sa.Text), sa.column("team_id", sa.Uuid)
).c


class ThingRead(Read, frozen=True):
    """Something planted."""

    id: str
    status: str


def things(default: str = "-created_at") -> Listing[ThingRead]:
    return Listing(
        sa.select(THINGS.id, THINGS.status),
        ThingRead,
        key=THINGS.id,
        sorts={"created_at": THINGS.id},
        filters={"status": Filter(THINGS.status), "team_id": Filter(THINGS.team_id)},
        default=default,
    )


def start(settings: Settings, monkeypatch: pytest.MonkeyPatch, handler: Any) -> None:
    class Things(Controller):
        """Things."""

        tags = ["Things"]
        list_things = handler

    monkeypatch.setattr(program, "FEATURES", (*program.FEATURES, Feature(name="things", controllers=(Things,))))
    program.create_litestar(settings)


def refusal_of(settings: Settings, monkeypatch: pytest.MonkeyPatch, handler: Any) -> str:
    """Why the program does not start with it."""
    with pytest.raises(NotOffered) as refused:
        start(settings, monkeypatch, handler)
    return str(refused.value)


def test_the_program_does_not_start_with_a_list_that_takes_a_filter_it_does_not_offer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    @get("/v1/things", public="it is only planted", listing=things())
    async def list_things(
        self: Any,
        page: NamedDependency[PageRequest],
        status: FromQuery[str | None] = None,
        name_prefix: FromQuery[str | None] = None,
    ) -> Page[ThingRead]:
        """List things."""
        raise NotImplementedError

    assert refusal_of(settings, monkeypatch, list_things) == (
        "GET /v1/things: list_things takes name_prefix, which its Listing does not offer; it has the filters status,"
        " team_id"
    )


def test_nor_with_one_whose_order_by_default_it_does_not_offer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    @get("/v1/things", public="it is only planted", listing=things(default="name"))
    async def list_things(self: Any, page: NamedDependency[PageRequest]) -> Page[ThingRead]:
        """List things."""
        raise NotImplementedError

    assert refusal_of(settings, monkeypatch, list_things) == (
        "GET /v1/things: list_things is sorted by name, which its Listing does not offer; it has the sorts created_at,"
        " -created_at"
    )


def test_one_that_takes_what_it_offers_starts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    @get("/v1/teams/{team_id:str}/things", public="it is only planted", listing=things())
    async def list_things(
        self: Any,
        page: NamedDependency[PageRequest],
        team_id: FromPath[str],
        status: FromQuery[str | None] = None,
    ) -> Page[ThingRead]:
        """List things."""
        raise NotImplementedError

    start(settings, monkeypatch, list_things)


@pytest.mark.parametrize(("path", "name", "prefix"), [("/projects", "team_id", "tea"), ("/members", "user_id", "usr")])
async def test_a_filter_tells_what_can_be_no_id_of_its_kind_from_an_id_that_nothing_has(
    world: World, path: str, name: str, prefix: str
) -> None:
    owner = await world.owner()
    form = f"{prefix}_01j4k5wyhvfh6rwqv0e619795n"
    for unknown in (form, f"{prefix}_00000000000000000000000000"):
        assert (await owner.client.get(owner.url(path), params={name: unknown})).json()["data"] == []
    for sent in ("", "x", owner.membership_id, form.upper(), f"{form}0", f"{form}\n", form.replace("_0", "_8")):
        answer = await owner.client.get(owner.url(path), params={name: sent})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), (sent, answer.text)
        assert answer.json()["errors"] == [
            {"pointer": f"query/{name}", "code": "malformed", "detail": f"an id such as {example_of(prefix)}"}
        ]
