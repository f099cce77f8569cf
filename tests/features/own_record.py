"""A person's own record, as they read it, and what is written into it."""

from typing import Any

import httpx

from insula.core.ids import to_uuid
from tests.factories import Person, World
from tests.features.signing_in import NEW_PASSWORD, PASSWORD, give_password
from tests.features.test_identity_letters import Mailbox

EVENTS_URL = "/v1/me/events"
IP = "203.0.113.7"
NEW = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}


async def told(client: httpx.AsyncClient, **params: str) -> list[dict[str, Any]]:
    """What a person reads of their record, the latest first."""
    answer = await client.get(EVENTS_URL, params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def said(events: list[dict[str, Any]]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(event["type"], event["target_id"], event["data"]) for event in events]


async def with_password(world: World) -> Person:
    person = await world.person()
    await give_password(world, person)
    return person


async def session_of(client: httpx.AsyncClient) -> str:
    """The id of the session that asks."""
    listed = (await client.get("/v1/me/sessions")).json()["data"]
    (current,) = [session["id"] for session in listed if session["current"]]
    return str(current)


async def token_in(mailbox: Mailbox, address: str) -> str:
    """That of the one letter that has a link in it."""
    (token,) = [mail.context["token"] for mail in await mailbox.open(address) if "token" in mail.context]
    return str(token)


async def lines(world: World, person: Person) -> int:
    found: int = await world.superuser.fetchval(
        "SELECT count(*) FROM app.account_event WHERE user_id = $1", to_uuid("usr", person.id)
    )
    return found
