"""Organizations over HTTP: made, named, listed and changed."""

import asyncio
import json

import asyncpg
import pytest

from insula.core.ids import new_id, to_uuid
from insula.features.organizations.service import OWNED_AT_MOST
from insula.features.organizations.slugs import RESERVED, candidates
from insula.settings import Settings
from tests.factories import World


def unique(word: str) -> str:
    return f"{word}-{new_id('x')[-10:]}"


async def test_whoever_makes_an_organization_owns_it_and_is_in_it(world: World, superuser: asyncpg.Connection) -> None:
    person = await world.person("Ada  LOVELACE")
    client, slug = world.client(person.token), unique("engines")
    made = await client.post("/v1/organizations", json={"name": "Engines", "slug": slug, "metadata": {"plan": "x"}})
    assert made.status_code == 201, made.text
    organization = made.json()
    assert (organization["name"], organization["slug"], organization["metadata"]) == ("Engines", slug, {"plan": "x"})
    assert made.headers["etag"] == '"1"'
    got = await client.get(f"/v1/organizations/{organization['id']}")
    assert got.json() == organization
    me = (await client.get(f"/v1/organizations/{organization['id']}/members/me")).json()
    assert (me["role"], me["status"], me["name"], me["email"]) == ("owner", "active", "Ada  LOVELACE", person.email)
    assert me["user_id"] == person.id
    found = await client.get(f"/v1/organizations/{organization['id']}/members", params={"name_prefix": "ada love"})
    assert [row["id"] for row in found.json()["data"]] == [me["id"]]
    rows = await superuser.fetch(
        "SELECT * FROM app.event WHERE tenant_id = $1 ORDER BY id", to_uuid("org", organization["id"])
    )
    assert [(row["type"], row["target_id"], row["actor_id"]) for row in rows] == [
        ("organization.created", organization["id"], person.id),
        ("member.added", me["id"], person.id),
    ]
    assert json.loads(rows[0]["data"]) == {"name": "Engines", "slug": slug, "metadata": {"plan": "x"}}
    assert rows[0]["credential_id"].startswith("crd_")
    assert '"ip"' in rows[0]["context"]


async def test_an_organization_is_repeated_once_per_idempotency_key(world: World) -> None:
    client = world.client((await world.person()).token)
    answers = [
        await client.post("/v1/organizations", json={"name": "Once"}, headers={"idempotency-key": "k1"})
        for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert len((await client.get("/v1/me/organizations")).json()["data"]) == 1


async def test_only_a_verified_address_makes_organizations(world: World, superuser: asyncpg.Connection) -> None:
    person = await world.person()
    await superuser.execute('UPDATE app."user" SET email_verified_at = NULL WHERE id = $1', to_uuid("usr", person.id))
    refused = await world.client(person.token).post("/v1/organizations", json={"name": "Nope"})
    assert (refused.status_code, refused.json()["code"]) == (403, "email_unverified")


async def test_a_stranger_makes_no_organization(world: World) -> None:
    assert (await world.client().post("/v1/organizations", json={"name": "Nope"})).status_code == 401


async def test_a_slug_is_made_from_the_name_and_never_a_reserved_or_taken_one(world: World) -> None:
    client, name = world.client((await world.person()).token), f"Crème & Brûlée {new_id('x')[-8:]}"
    first = (await client.post("/v1/organizations", json={"name": name})).json()["slug"]
    assert first == "creme-brulee-" + name[-8:]
    second = (await client.post("/v1/organizations", json={"name": name})).json()["slug"]
    assert second.startswith(f"{first}-")
    assert (await client.post("/v1/organizations", json={"name": "Admin"})).json()["slug"].startswith("admin-")
    assert (
        (await client.post("/v1/organizations", json={"name": "株式会社"})).json()["slug"].startswith("organization-")
    )


def test_every_candidate_has_the_form_of_a_slug() -> None:
    for name in ("a", "-", "x" * 200, "A  B", "Ünï", *RESERVED):
        for slug in candidates(name):
            assert 2 <= len(slug) <= 63
            assert slug.replace("-", "").isalnum()
            assert "--" not in slug
            assert slug not in RESERVED


@pytest.mark.attack(8)
async def test_a_taken_slug_is_refused_without_a_word_about_whose_it_is(world: World) -> None:
    client, other = world.client((await world.person()).token), await world.owner("The Secret Ones")
    taken = (await other.client.get(other.url(""))).json()["slug"]
    refused = await client.post("/v1/organizations", json={"name": "Mine", "slug": taken})
    assert (refused.status_code, refused.json()["code"]) == (409, "slug_taken")
    assert other.organization_id not in refused.text
    assert "Secret" not in refused.text
    mine = (await client.post("/v1/organizations", json={"name": "Mine"})).json()
    url = f"/v1/organizations/{mine['id']}"
    refused = await client.patch(url, json={"slug": taken}, headers={"if-match": "*"})
    assert (refused.status_code, refused.json()["code"]) == (409, "slug_taken")
    assert (await client.get(url)).json() == mine


async def test_reserved_and_malformed_slugs_are_refused(world: World) -> None:
    client = world.client((await world.person()).token)
    refused = await client.post("/v1/organizations", json={"name": "X", "slug": "admin"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/slug")
    for slug in ("A", "-a", "a-", "a--b", "Über", "a" * 64, "a b", "a\n", "ab\n", ""):
        assert (await client.post("/v1/organizations", json={"name": "X", "slug": slug})).status_code == 400
    mine = (await client.post("/v1/organizations", json={"name": "X"})).json()
    url = f"/v1/organizations/{mine['id']}"
    assert (await client.patch(url, json={"slug": "www"}, headers={"if-match": "*"})).status_code == 422


async def test_no_sql_of_a_request_takes_a_reserved_slug(world: World, superuser: asyncpg.Connection) -> None:
    reserved = await superuser.fetch("SELECT slug FROM app.organization_slug WHERE tenant_id IS NULL")
    assert {row["slug"] for row in reserved} == RESERVED
    owner = await world.owner()
    connection = await asyncpg.connect(world.settings.database_url)
    try:
        async with connection.transaction():
            entry = world.digest(owner.person.token), to_uuid("org", owner.organization_id)
            assert (await connection.fetchval("SELECT verdict FROM app.enter($1, $2)", *entry)) == "admitted"
            with pytest.raises(asyncpg.UniqueViolationError):
                await connection.execute("SELECT app.claim_slug('admin')")
    finally:
        await connection.close()


async def test_two_who_want_one_slug_at_once_get_one_organization(world: World) -> None:
    slug = unique("race")
    clients = [world.client((await world.person()).token) for _ in range(4)]
    answers = await asyncio.gather(
        *(client.post("/v1/organizations", json={"name": "R", "slug": slug}) for client in clients)
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


async def test_nobody_owns_more_organizations_than_the_limit(world: World, superuser: asyncpg.Connection) -> None:
    person = await world.person()
    await superuser.execute(
        "INSERT INTO app.membership (tenant_id, id, user_id, role, name, name_norm, email, email_norm)"
        " SELECT gen_random_uuid(), gen_random_uuid(), $1, 'owner', 'n', 'n', 'e', 'e' FROM generate_series(1, $2)",
        to_uuid("usr", person.id),
        OWNED_AT_MOST - 1,
    )
    client = world.client(person.token)
    answers = await asyncio.gather(*(client.post("/v1/organizations", json={"name": "M"}) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 403, 403, 403]
    refused = next(answer for answer in answers if answer.status_code == 403)
    assert refused.json()["code"] == "too_many_organizations"


async def test_my_organizations_are_listed_with_my_role_page_by_page(
    world: World, superuser: asyncpg.Connection
) -> None:
    person = await world.person()
    roles = ["owner", "admin", "viewer", "billing", "member"]
    places = []
    for role in roles:
        owner = await world.owner()
        places.append((await world.member(owner.organization_id, role, person)).organization_id)
    await superuser.execute("UPDATE app.organization SET suspended_at = now() WHERE id = $1", to_uuid("org", places[1]))
    client = world.client(person.token)
    for sort, expected in (("created_at", list(zip(places, roles, strict=True))), ("-created_at", None)):
        seen: list[tuple[str, str]] = []
        cursor: str | None = None
        while True:
            params = {"limit": "2", "sort": sort} | ({"cursor": cursor} if cursor else {})
            page = (await client.get("/v1/me/organizations", params=params)).json()
            seen += [(row["id"], row["role"]) for row in page["data"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == (expected or list(zip(places, roles, strict=True))[::-1])
    suspended = (await client.get("/v1/me/organizations", params={"status": "suspended"})).json()["data"]
    assert [row["id"] for row in suspended] == [places[1]]
    assert (await client.get("/v1/me/organizations", params={"role": "viewer"})).json()["data"][0]["id"] == places[2]


async def test_my_organizations_show_the_date_that_they_are_sorted_by(world: World) -> None:
    first, second, third = [await world.owner() for _ in range(3)]
    for organization in (third.organization_id, first.organization_id):  # joined in another order
        await world.member(organization, "member", second.person)
    made = {owner.organization_id: (await owner.client.get(owner.url(""))).json() for owner in (first, second, third)}
    for sort, expected in (("created_at", [first, second, third]), ("-created_at", [third, second, first])):
        rows = (await second.client.get("/v1/me/organizations", params={"sort": sort})).json()["data"]
        shown = [(row["id"], row.get("created_at")) for row in rows]
        assert shown == [(one.organization_id, made[one.organization_id]["created_at"]) for one in expected]


async def test_a_cursor_of_one_person_is_worthless_to_another(world: World) -> None:
    first, second = await world.owner(), await world.owner()
    for _ in range(2):
        await world.member((await world.owner()).organization_id, "member", first.person)
    page = (await first.client.get("/v1/me/organizations", params={"limit": 1})).json()
    stolen = await second.client.get("/v1/me/organizations", params={"limit": 1, "cursor": page["next_cursor"]})
    assert stolen.status_code == 400


async def test_an_organization_is_changed_by_staff_and_read_by_every_role(
    world: World, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    roles = {role: await world.member(owner.organization_id, role) for role in ("admin", "member", "billing", "viewer")}
    for member in roles.values():
        assert (await member.client.get(owner.url(""))).status_code == 200
    for role in ("member", "billing", "viewer"):
        refused = await roles[role].client.patch(owner.url(""), json={"name": "X"}, headers={"if-match": "*"})
        assert refused.status_code == 403
    slug, admin = unique("renamed"), roles["admin"].client
    assert (await admin.patch(owner.url(""), json={"name": "X"})).status_code == 428
    changed = await admin.patch(
        owner.url(""), json={"name": "New", "slug": slug, "metadata": {"a": 1}}, headers={"if-match": '"1"'}
    )
    assert changed.status_code == 200, changed.text
    body = changed.json()
    assert (body["name"], body["slug"], body["metadata"], body["version"]) == ("New", slug, {"a": 1}, 2)
    assert (await admin.get(owner.url(""))).json() == body
    assert (await admin.patch(owner.url(""), json={"name": "Y"}, headers={"if-match": '"1"'})).status_code == 412
    only_slug = await admin.patch(owner.url(""), json={"slug": unique("again")}, headers={"if-match": '"2"'})
    assert only_slug.json()["version"] == 3
    event = await superuser.fetchrow(
        "SELECT data::jsonb AS data FROM app.event WHERE tenant_id = $1 AND type = 'organization.updated' ORDER BY id",
        to_uuid("org", owner.organization_id),
    )
    assert f'"slug": "{slug}"' in event["data"]


async def test_a_given_up_slug_is_free_again(world: World) -> None:
    first, second = await world.owner(), await world.owner()
    slug = (await first.client.get(first.url(""))).json()["slug"]
    await first.client.patch(first.url(""), json={"slug": unique("moved")}, headers={"if-match": "*"})
    taken = await second.client.patch(second.url(""), json={"slug": slug}, headers={"if-match": "*"})
    assert taken.json()["slug"] == slug


async def test_a_suspended_organization_is_refused_with_its_reason(world: World, superuser: asyncpg.Connection) -> None:
    owner = await world.owner()
    await superuser.execute(
        "UPDATE app.organization SET suspended_at = now() WHERE id = $1", to_uuid("org", owner.organization_id)
    )
    for method, path in (("GET", ""), ("GET", "/members"), ("POST", "/departure"), ("POST", "/restoration")):
        assert (await owner.client.request(method, owner.url(path))).status_code == 403
    assert (await owner.client.get("/v1/me/organizations")).json()["data"][0]["status"] == "suspended"


@pytest.mark.attack(15)
async def test_the_doors_of_organizations_open_for_their_own_key_only(
    world: World, superuser: asyncpg.Connection, settings: Settings
) -> None:
    owner, other = await world.owner(), await world.owner()
    await world.member(other.organization_id, "viewer", owner.person)
    tenant = to_uuid("org", owner.organization_id)
    names = "SELECT o.id, o.name, slug FROM app.organization_slug JOIN app.organization AS o USING (slug) ORDER BY o.id"
    before = await superuser.fetch(names)
    found = world.digest(owner.person.token)
    connection = await asyncpg.connect(settings.database_url)
    try:
        async with connection.transaction():  # nobody is nowhere
            assert await connection.fetch("SELECT * FROM app.my_organizations()") == []
            await connection.execute("SELECT app.claim_slug('stolen-by-nobody')")
            for secret in (b"\0" * 32, b"", None):
                verdict = await connection.fetchval(
                    "SELECT app.create_organization($1, $2, $3, '{}', 'N', '{n-n-n}', '{}', 'n', 1, '{}')",
                    secret,
                    tenant,
                    tenant,
                )
                assert verdict == "unauthenticated"
        async with connection.transaction():  # inside of one, the others are out of sight
            assert (await connection.fetchval("SELECT verdict FROM app.enter($1, $2)", found, tenant)) == "admitted"
            assert await connection.fetch("SELECT * FROM app.my_organizations()") == []
        async with connection.transaction():
            assert (await connection.fetchval("SELECT verdict FROM app.enter($1, NULL)", found)) == "admitted"
            assert len(await connection.fetch("SELECT * FROM app.my_organizations()")) == 2
            with pytest.raises(asyncpg.UniqueViolationError):  # an organization there is cannot be made again
                await connection.execute(
                    "SELECT app.create_organization($1, $2, $2, '{}', 'N', '{n-n-n}', '{}', 'n', 9, '{}')",
                    found,
                    to_uuid("org", other.organization_id),
                )
    finally:
        await connection.close()
    assert await superuser.fetch(names) == before


async def test_the_databases_ids_read_like_the_programs(superuser: asyncpg.Connection) -> None:
    for _ in range(20):
        text = new_id("org")
        assert await superuser.fetchval("SELECT app.type_id('org', $1)", to_uuid("org", text)) == text
    assert await superuser.fetchval("SELECT app.type_id('x', $1)", to_uuid("x", "x_7zzzzzzzzzzzzzzzzzzzzzzzzz")) == (
        "x_7zzzzzzzzzzzzzzzzzzzzzzzzz"
    )
