"""Roles and permissions, shown."""

import pytest

from insula.core.permissions import RANK, Role, may_grant
from insula.product import FEATURES
from tests.factories import World


async def test_every_permission_is_shown_with_what_it_allows_and_who_holds_it(world: World) -> None:
    viewer = await world.member((await world.owner()).organization_id, "viewer")
    shown = (await viewer.client.get(viewer.url("/permissions"))).json()["data"]
    declared = {permission.name: permission for feature in FEATURES for permission in feature.permissions}
    assert [row["name"] for row in shown] == sorted(declared)
    for row in shown:
        assert row["description"] == declared[row["name"]].description
        assert set(row["roles"]) == set(declared[row["name"]].roles)


async def test_every_role_is_shown_with_its_rank_and_its_permissions(world: World) -> None:
    owner = await world.owner()
    roles = (await owner.client.get(owner.url("/roles"))).json()["data"]
    permissions = (await owner.client.get(owner.url("/permissions"))).json()["data"]
    assert [(row["name"], row["rank"]) for row in roles] == [(role, RANK[role]) for role in Role]
    for row in roles:
        assert row["description"]
        assert row["permissions"] == [item["name"] for item in permissions if row["name"] in item["roles"]]
    assert set(roles[0]["permissions"]) == {item["name"] for item in permissions}


@pytest.mark.parametrize("role", list(Role))
async def test_members_see_what_they_may_do_and_whom_they_may_make(world: World, role: Role) -> None:
    owner = await world.owner()
    member = owner if role == Role.OWNER else await world.member(owner.organization_id, role)
    access = (await member.client.get(member.url("/access"))).json()
    roles = {row["name"]: row for row in (await member.client.get(member.url("/roles"))).json()["data"]}
    assert access["member_id"] == member.membership_id
    assert access["role"] == role
    assert access["permissions"] == roles[role]["permissions"]
    assert access["grantable_roles"] == [other for other in Role if may_grant(role, other)]


async def test_strangers_see_nothing_of_it(world: World) -> None:
    owner, stranger = await world.owner(), await world.owner()
    for path in ("/permissions", "/roles", "/access"):
        assert (await stranger.client.get(owner.url(path))).status_code == 404
        assert (await world.client().get(owner.url(path))).status_code == 401
