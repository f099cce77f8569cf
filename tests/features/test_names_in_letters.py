"""Names that stand in letters: nobody's link travels under our name."""

import asyncpg
import msgspec
import pytest

from insula.core.schemas import PersonName
from tests.factories import World

LINKS = [
    "Visit https://evil.example",
    "WWW.evil.example has your prize",
    "ftp://x",
    "evil.example/pay",
    "evil.example:8443",
    "evil.example?prize",
    "evil.example#prize",
    "evil.example\\pay",
    "evil.xn--p1ai/login",
    "evil.рф/login",
    "evil.c0m/login",
    "evil.example.c0m/login",
    "93.184.216.34/login",
    "evil.example\u2215login",
    "evil\u3002example\u2044login",
    "Http:evil.example",
    "1.2.3.4/login",
    "evil\uff1a\uff0f\uff0fexample",
    "\uff57\uff57\uff57.evil.example",
    "evil.example\uff1fprize",
    "evil.example\uff03prize",
    "evil.example\uff1a8443",
    " Acme",
    "Acme\u200b",
    "Ada\r\nBcc: x@example.com",
    "a\x07b",
]


@pytest.mark.parametrize("name", LINKS)
async def test_no_organization_or_person_is_called_like_a_link(world: World, name: str) -> None:
    owner = await world.owner()
    stranger, any_version = world.client(), {"if-match": "*"}
    mailed = {"token": "x", "name": name, "password": "correct horse battery staple"}
    account = {"email": "ada@example.com", "name": name, "password": "correct horse battery staple"}
    for answer in (
        await owner.client.post("/v1/organizations", json={"name": name}),
        await owner.client.patch(owner.url(""), json={"name": name}, headers=any_version),
        await owner.client.patch(owner.url("/members/me"), json={"name": name}, headers=any_version),
        await owner.client.patch(
            owner.url(f"/members/{owner.membership_id}"), json={"name": name}, headers=any_version
        ),
        await owner.client.patch("/v1/me", json={"name": name}, headers=any_version),
        await stranger.post("/v1/auth/sign-up", json=account),
        await stranger.post("/v1/auth/invitations/acceptance", json=mailed),
    ):
        assert answer.status_code == 400, answer.request.url
        (error,) = answer.json()["errors"]
        assert error["pointer"] == "/name"
        assert (
            "control or invisible characters, http:, ://, www. or example.com/ (it stands in letters" in error["detail"]
        )


@pytest.mark.parametrize(
    "name",
    [
        "Amazon.com",
        "Müller & Söhne",
        "A/B: Testing",
        "Node.js: the shop",
        "St. Gallen/Zürich",
        "TSV e.V./Handball",
        "S.A./N.V.",
        "U.S.A./Canada",
        "Team 2.0/QA",
        "x",
        "Wwwoosh",
        "株式会社",
    ],
)
async def test_names_that_only_resemble_links_are_names(world: World, name: str) -> None:
    owner = await world.owner()
    answer = await owner.client.patch(owner.url(""), json={"name": name}, headers={"if-match": "*"})
    assert answer.status_code == 200, answer.text


async def test_a_project_may_be_called_like_a_link_for_it_stands_in_no_letter(world: World) -> None:
    owner = await world.owner()
    answer = await owner.client.post(owner.url("/projects"), json={"name": "www.example.com", "key": "WWW"})
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    "local", ["www.evil.com/x", "evil.example/login", "!!!", "a" * 249, "taken.back", "1.2.3.4/x", "-"]
)
async def test_nor_is_anybody_called_like_a_link_whose_name_is_made_of_their_address(
    superuser: asyncpg.Connection, local: str
) -> None:
    name = await superuser.fetchval("SELECT app.name_of($1)", f"{local}@example.com")
    assert msgspec.convert(name, PersonName) == name
