"""Invitations as tests see them: the tokens that only letters carry, and the traces that are left."""

import json
from typing import Any

import httpx

from insula.core.ids import new_id, to_text, to_uuid
from insula.features.invitations.letters import addressee
from tests.factories import Member, Person, World

PASSWORD = "correct horse battery staple"
PREVIEW, JOIN, DECLINE = (f"/v1/auth/invitations/{action}" for action in ("preview", "acceptance", "refusal"))
ACCEPT = "/v1/me/invitations/acceptance"


def fresh_address(name: str = "ada") -> str:
    return f"{name}.{new_id('x')[-10:]}@example.com"


async def invite(inviter: Member, email: str | None = None, role: str = "member") -> dict[str, Any]:
    """Somebody was invited; returns the invitation."""
    made = await inviter.client.post(
        inviter.url("/invitations"), json={"email": email or fresh_address(), "role": role}
    )
    assert made.status_code == 201, made.text
    invitation: dict[str, Any] = made.json()
    return invitation


async def token_of(world: World, invitation: dict[str, Any], sending: int | None = None) -> str:
    """The token that the latest letter carries, or that of an earlier sending."""
    row = await world.superuser.fetchrow(
        "SELECT tenant_id, credential_id, sendings, email_norm FROM app.invitation WHERE id = $1",
        to_uuid("inv", invitation["id"]),
    )
    sending = sending or row["sendings"]
    to = addressee(to_text("org", row["tenant_id"]), invitation["id"], row["email_norm"])
    return world.keyring.mailed("invitation", to_text("crd", row["credential_id"]), to=to, sending=sending)


def sign_up(token: str, **changes: Any) -> dict[str, Any]:
    """What somebody new sends to come in."""
    return {"token": token, "name": "Grace Hopper", "password": PASSWORD, **changes}


async def join(world: World, token: str) -> httpx.Response:
    """Somebody new comes in by the token."""
    return await world.client().post(JOIN, json=sign_up(token))


async def accept(world: World, person: Person, token: str) -> httpx.Response:
    """Somebody with an account comes in by the token."""
    return await world.client(person.token).post(ACCEPT, json={"token": token})


async def state_of(world: World, invitation: dict[str, Any]) -> str:
    found: str = await world.superuser.fetchval(
        "SELECT status FROM app.invitation WHERE id = $1", to_uuid("inv", invitation["id"])
    )
    return found


async def expire(world: World, invitation: dict[str, Any]) -> None:
    """Its time is over; nothing else happens to it."""
    key = to_uuid("inv", invitation["id"])
    await world.superuser.execute(
        "UPDATE app.invitation SET expires_at = now() - interval '1 minute' WHERE id = $1", key
    )
    await world.superuser.execute(
        "UPDATE app.credential SET expires_at = now() - interval '1 minute' WHERE subject_id = $1", key
    )


async def events_of(world: World, target: str) -> list[tuple[str, dict[str, Any]]]:
    rows = await world.superuser.fetch(
        "SELECT type, data::text FROM app.event WHERE target_id = $1 ORDER BY id", target
    )
    return [(row["type"], json.loads(row["data"])) for row in rows]


def creation_of(invitation: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The event that an invitation begins with: all that was made."""
    return "invitation.created", {name: invitation[name] for name in ("role", "invited_by", "expires_at")}


async def letters_for(world: World, invitation: dict[str, Any]) -> list[str]:
    """The jobs that send this invitation's letters."""
    rows = await world.superuser.fetch(
        "SELECT id FROM app.outbox WHERE task = 'invitations.send_invitation'"
        " AND payload ->> 'invitation_id' = $1 ORDER BY id",
        invitation["id"],
    )
    return [to_text("job", row["id"]) for row in rows]


async def members_of(world: World, organization_id: str) -> list[tuple[str, str]]:
    """Address and role of every member, oldest first."""
    rows = await world.superuser.fetch(
        "SELECT email, role FROM app.membership WHERE tenant_id = $1 ORDER BY created_at, id",
        to_uuid("org", organization_id),
    )
    return [(row["email"], row["role"]) for row in rows]
