"""Where mailed links lead as long as there is no front end."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest
from litestar import Litestar

import insula
from insula.core.http.guard import declared_routes
from insula.pages import LANDINGS
from tests.factories import World
from tests.invitations import invite, join, token_of

LINK = re.compile(r"""link\(["'](/[^"']*)["']""")


def linked() -> set[str]:
    """Every path that a letter's template leads to."""
    letters = Path(insula.__file__).parent.rglob("mail/*.j2")
    return {path for letter in letters for path in LINK.findall(letter.read_text(encoding="utf-8"))}


def test_every_link_of_a_letter_has_a_page_and_no_other_page_is_there() -> None:
    assert linked() == set(LANDINGS)


def test_the_calls_that_pages_name_are_those_the_program_takes(litestar: Litestar) -> None:
    routes = {path: handler for method, path, handler in declared_routes(litestar) if method == "POST"}
    for landing in LANDINGS.values():
        for call in landing.calls:
            handler = routes[call.path]
            body = get_type_hints(handler.fn, include_extras=True)["data"]
            sent = {**call.body, "email": "you@example.com"} if "email" in call.body else call.body
            msgspec.convert(sent, body)
            assert call.session == ("public" not in handler.opt)


@pytest.mark.parametrize("path", sorted(LANDINGS))
async def test_a_mailed_link_opens_a_page_that_names_the_call_and_asks_for_nothing(world: World, path: str) -> None:
    answer = await world.client().get(path, headers={"accept": "text/html"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    for call in LANDINGS[path].calls:
        assert f"curl {world.settings.base_url}{call.path} " in answer.text
    commands = re.findall(r"<pre>(.*?)</pre>", answer.text, re.DOTALL)
    assert not any("\n\n" in command for command in commands)  # a shell would end the command there
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text)
    allowed = b64encode(sha256(style.encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{allowed}';")
    for closed in ("object-src", "base-uri", "form-action", "frame-ancestors"):
        assert f"{closed} 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script|<form|<input|src=|onload|@import|url\(", answer.text)
    assert re.findall(r'href="([^"]*)"', answer.text) == ["/docs"]
    assert "set-cookie" not in answer.headers


def test_a_sign_up_is_finished_with_the_password_it_began_with_and_only_other_pages_ask_for_a_new_one() -> None:
    asked = {
        call.path: call.body["password"]
        for landing in LANDINGS.values()
        for call in landing.calls
        if "password" in call.body
    }
    new = "a password of your choice"
    assert {path for path, password in asked.items() if password == new} == {
        "/v1/auth/reset",
        "/v1/auth/invitations/acceptance",
    }
    assert asked["/v1/auth/verification"] == "the password chosen at sign-up"


async def test_an_invitation_says_how_to_come_in_with_an_account_and_without_and_how_to_decline(world: World) -> None:
    landing = LANDINGS["/accept-invitation"]
    assert [call.path for call in landing.calls] == [
        "/v1/auth/invitations/preview",
        "/v1/auth/invitations/acceptance",
        "/v1/auth/sign-in",
        "/v1/me/invitations/acceptance",
        "/v1/auth/invitations/refusal",
    ]
    owner, person = await world.owner(), await world.person()
    token = await token_of(world, await invite(owner, person.email))
    refused = await join(world, token)
    assert refused.status_code == 409
    assert refused.json()["code"] in landing.calls[1].why
    assert (await world.client().post(landing.calls[-1].path, json={"token": token})).status_code == 204


async def test_the_entrance_leads_people_to_the_documentation_and_tells_programs_where_it_is(world: World) -> None:
    person = await world.client().get("/", headers={"accept": "text/html,*/*;q=0.8"})
    assert (person.status_code, person.headers["location"], person.headers["vary"]) == (303, "/docs", "accept")
    assert person.content == b""
    program = await world.client().get("/")
    assert program.status_code == 200
    assert program.json() == {"documentation": "/docs", "openapi": "/openapi.json"}
    for path in program.json().values():
        assert (await world.client().get(path)).status_code == 200
