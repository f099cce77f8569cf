"""Attacks on roles: taking more than one was given, and doing it unseen."""

import itertools
import json
from typing import Any

import asyncpg
import pytest

from insula.core.ids import to_uuid
from insula.core.permissions import RANK, Role
from tests.factories import Member, World

STAFF = ("owner", "admin")


async def denials(superuser: asyncpg.Connection, organization: str) -> list[dict[str, Any]]:
    rows = await superuser.fetch(
        "SELECT actor_id, target_id, data::text AS data FROM app.event"
        " WHERE tenant_id = $1 AND type = 'access.denied' ORDER BY id",
        to_uuid("org", organization),
    )
    return [{"actor_id": row["actor_id"], "target_id": row["target_id"], **json.loads(row["data"])} for row in rows]


def writes(actor: Member, target: Member) -> list[tuple[str, str, Any]]:
    path = f"/members/{target.membership_id}"
    return [
        ("PATCH", path, {"role": "viewer"}),
        ("PATCH", path, {"name": "Somebody"}),
        ("POST", f"{path}/suspension", None),
        ("POST", f"{path}/reinstatement", None),
        ("DELETE", path, None),
    ]


async def state_of(superuser: asyncpg.Connection, organization: str) -> list[Any]:
    return await superuser.fetch(  # type: ignore[no-any-return]
        "SELECT id, role, status, name, version FROM app.membership WHERE tenant_id = $1 ORDER BY id",
        to_uuid("org", organization),
    )


@pytest.mark.attack(91)
async def test_nobody_raises_themselves(world: World, superuser: asyncpg.Connection) -> None:
    owner = await world.owner()
    for role in Role:
        member = await world.member(owner.organization_id, role)
        for wanted in Role:
            if RANK[wanted] <= RANK[role]:
                continue
            for path in (f"/members/{member.membership_id}", "/members/me"):
                answer = await member.client.patch(member.url(path), json={"role": wanted}, headers={"if-match": "*"})
                assert answer.status_code in {400, 403}, (role, wanted, path)
        assert (await member.client.get(member.url("/members/me"))).json()["role"] == role


@pytest.mark.attack(91)
async def test_nobody_grants_a_role_above_their_own(world: World) -> None:
    owner = await world.owner()
    for role, wanted in itertools.product(Role, Role):
        actor = await world.member(owner.organization_id, role)
        target = await world.member(owner.organization_id, "viewer")
        answer = await actor.client.patch(
            actor.url(f"/members/{target.membership_id}"), json={"role": wanted}, headers={"if-match": "*"}
        )
        allowed = role in STAFF and RANK[wanted] <= RANK[role]
        assert answer.status_code == (200 if allowed else 403), (role, wanted)
        assert (await target.client.get(target.url("/members/me"))).json()["role"] == (wanted if allowed else "viewer")


@pytest.mark.attack(91)
async def test_an_admin_does_nothing_to_an_owner(world: World, superuser: asyncpg.Connection) -> None:
    owner = await world.owner()
    admin, other = [await world.member(owner.organization_id, role) for role in ("admin", "owner")]
    before = await state_of(superuser, owner.organization_id)
    for method, path, body in writes(admin, other):
        answer = await admin.client.request(method, admin.url(path), json=body, headers={"if-match": "*"})
        assert (answer.status_code, answer.json()["code"]) == (403, "role_above_yours"), (method, path)
    assert await state_of(superuser, owner.organization_id) == before


@pytest.mark.attack(91)
async def test_those_without_authority_do_nothing_to_anybody(world: World, superuser: asyncpg.Connection) -> None:
    owner = await world.owner()
    target = await world.member(owner.organization_id, "viewer")
    for role in ("member", "billing", "viewer"):
        actor = await world.member(owner.organization_id, role)
        before = await state_of(superuser, owner.organization_id)
        for method, path, body in writes(actor, target):
            answer = await actor.client.request(method, actor.url(path), json=body, headers={"if-match": "*"})
            assert (answer.status_code, answer.json()["code"]) == (403, "permission_missing"), (method, path)
        assert await state_of(superuser, owner.organization_id) == before


@pytest.mark.attack(91)
async def test_built_in_roles_cannot_be_edited_and_no_other_can_be_assigned(world: World) -> None:
    owner = await world.owner()
    member = await world.member(owner.organization_id, "member")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in ("/roles", "/roles/admin", "/permissions", "/access"):
            answer = await owner.client.request(method, owner.url(path), json={"permissions": ["projects:write"]})
            assert answer.status_code in {404, 405}, (method, path)
    for role in ("superuser", "operator", "OWNER", "", "org:custom", None, 3, ["owner"]):
        answer = await owner.client.patch(
            owner.url(f"/members/{member.membership_id}"), json={"role": role}, headers={"if-match": "*"}
        )
        assert answer.status_code == 400, role


@pytest.mark.attack(1)
async def test_a_neighbours_members_do_not_exist(world: World, superuser: asyncpg.Connection) -> None:
    owner, neighbour = await world.owner(), await world.owner()
    victim = await world.member(neighbour.organization_id, "member")
    before = await state_of(superuser, neighbour.organization_id)
    for (method, path, body), organization in itertools.product(writes(owner, victim), (owner, neighbour)):
        answer = await owner.client.request(method, organization.url(path), json=body, headers={"if-match": "*"})
        assert answer.status_code == 404
    for method, path, body in (
        ("PATCH", "", {"name": "Mine"}),
        ("DELETE", "", None),
        ("POST", "/restoration", None),
        ("POST", "/departure", None),
        ("POST", "/ownership-transfer", {"member_id": victim.membership_id}),
    ):
        answer = await owner.client.request(method, neighbour.url(path), json=body, headers={"if-match": "*"})
        assert answer.status_code == 404
    assert await state_of(superuser, neighbour.organization_id) == before


@pytest.mark.attack(92)
async def test_fields_that_are_not_the_callers_to_set_are_refused(world: World, superuser: asyncpg.Connection) -> None:
    owner, neighbour = await world.owner(), await world.owner()
    member = await world.member(owner.organization_id, "member")
    smuggled = {
        "id": owner.organization_id,
        "tenant_id": neighbour.organization_id,
        "organization_id": owner.organization_id,
        "is_admin": True,
        "version": 7,
        "balance": 1_000_000,
        "status": "active",
        "user_id": neighbour.person.id,
        "email": "x@example.com",
        "created_at": "2020-01-01T00:00:00Z",
        "deleted_at": None,
        "suspended_at": None,
        "limits": {"members": 1_000_000},
        "name_norm": "x",
        "permissions": ["organization:delete"],
    }
    bodies: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/organizations", {"name": "X"}),
        ("PATCH", owner.url(""), {"name": "X"}),
        ("PATCH", owner.url(f"/members/{member.membership_id}"), {"role": "viewer"}),
        ("PATCH", owner.url("/members/me"), {"name": "X"}),
        ("POST", owner.url("/ownership-transfer"), {"member_id": member.membership_id}),
    ]
    before = await state_of(superuser, owner.organization_id)
    for (method, url, body), field in itertools.product(bodies, [*smuggled, "role"]):
        if field == "role" and "/members/mem_" in url:
            continue
        answer = await owner.client.request(
            method, url, json=body | {field: smuggled.get(field, "owner")}, headers={"if-match": "*"}
        )
        assert answer.status_code == 400, (method, url, field, answer.text)
    assert await state_of(superuser, owner.organization_id) == before
    assert len((await owner.client.get("/v1/me/organizations")).json()["data"]) == 1


@pytest.mark.attack(92)
async def test_a_body_where_none_is_taken_changes_nothing(world: World) -> None:
    owner = await world.owner()
    viewer = await world.member(owner.organization_id, "viewer")
    url = owner.url(f"/members/{viewer.membership_id}")
    for action in ("suspension", "reinstatement"):
        answer = await owner.client.post(f"{url}/{action}", json={"role": "owner", "status": "active"})
        assert answer.status_code in {200, 400}
    assert (await owner.client.get(url)).json()["role"] == "viewer"


@pytest.mark.attack(138)
async def test_every_refused_attempt_is_recorded_with_who_where_and_why(
    world: World, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    admin, viewer = [await world.member(owner.organization_id, role) for role in ("admin", "viewer")]
    assert (await viewer.client.patch(viewer.url(""), json={"name": "X"}, headers={"if-match": "*"})).status_code == 403
    target = f"/members/{owner.membership_id}"
    assert (
        await admin.client.patch(admin.url(target), json={"role": "viewer"}, headers={"if-match": "*"})
    ).status_code == 403
    assert (await admin.client.delete(admin.url(""), headers={"if-match": "*"})).status_code == 403
    found = await denials(superuser, owner.organization_id)
    assert [(each["actor_id"], each["target_id"], each["permission"]) for each in found] == [
        (viewer.person.id, viewer.membership_id, "organization:update"),
        (admin.person.id, admin.membership_id, "members:manage"),
        (admin.person.id, admin.membership_id, "organization:delete"),
    ]
    assert [(each["operation"], each["reason"]) for each in found] == [
        ("update_organization", "permission_missing"),
        ("update_member", "role_above_theirs"),
        ("delete_organization", "permission_missing"),
    ]
    shown = (await owner.client.get(owner.url("/events"), params={"type": "access.denied"})).json()["data"]
    assert [row["actor_id"] for row in shown] == [admin.person.id, admin.person.id, viewer.person.id]
    assert shown[-1]["context"]["ip"] == "203.0.113.7"
    assert shown[-1]["data"] == {
        "permission": "organization:update",
        "operation": "update_organization",
        "reason": "permission_missing",
    }
    neighbour = await world.owner()
    assert (await neighbour.client.get(neighbour.url("/events"), params={"type": "access.denied"})).json()["data"] == []
