"""ETag and If-Match: nobody overwrites what they have not seen."""

import asyncio
from functools import partial

import pytest

from tests.factories import Member, World
from tests.invitations import accept, expire, invite, join, token_of


async def project(member: Member) -> str:
    made = await member.client.post(member.url("/projects"), json={"name": "Website", "key": "WEB"})
    assert made.headers["etag"] == '"1"'
    return member.url(f"/projects/{made.json()['id']}")


async def test_every_answer_with_a_version_carries_its_tag(world: World) -> None:
    owner = await world.owner()
    url = await project(owner)
    for expected in ('"1"', '"2"', '"3"'):
        got = await owner.client.get(url)
        assert got.headers["etag"] == expected == f'"{got.json()["version"]}"'
        changed = await owner.client.patch(url, json={"name": f"n{expected}"}, headers={"if-match": expected})
        assert changed.status_code == 200
        assert changed.headers["etag"] == f'"{changed.json()["version"]}"' != expected


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("tag", "status"),
    [
        (None, 428),
        ('"2"', 412),
        ('"0"', 412),
        ('"999999999999999999999999"', 412),
        ('"-1"', 412),
        ('"01x"', 412),
        ('""', 412),
        ('W/"2"', 412),
        ('W/"1"', 412),
        ('"0",W/"1"', 412),
        ('"١"', 412),
        ('"1; DROP TABLE app.project"', 412),
        ("1", 400),
        ("", 400),
        ("x", 400),
        ('"0", "2"', 412),
        (', W/"2",,"3" ,', 412),
        ('"1,2"', 412),
        ('"1', 400),
        ('"1" "2"', 400),
        ('"0", 1', 400),
        ('"1", *', 400),
        ("*, *", 400),
        (",", 400),
    ],
)
@pytest.mark.attack(119)
async def test_a_tag_that_is_missing_stale_or_forged_changes_nothing(
    world: World, method: str, tag: str | None, status: int
) -> None:
    owner = await world.owner()
    url = await project(owner)
    headers = {} if tag is None else {"if-match": tag.encode()}
    answer = await owner.client.request(
        method, url, headers=headers, **({"json": {"name": "x"}} if method == "PATCH" else {})
    )
    assert answer.status_code == status, answer.text
    assert (await owner.client.get(url)).json()["name"] == "Website"


@pytest.mark.parametrize("tag", ['"1"', "*", ' "1" ', '"1", "2"', ' ,W/"7" ,\t"1",', '"0","a,b","1"'])
async def test_the_current_tag_among_others_or_a_star_lets_a_change_through(world: World, tag: str) -> None:
    owner = await world.owner()
    url = await project(owner)
    assert (await owner.client.patch(url, json={"name": "x"}, headers={"if-match": tag})).status_code == 200


@pytest.mark.parametrize(
    ("tags", "status"),
    [(['"0"', '"1"'], 200), (['"1"', '"0", "2"'], 200), (['"0"', '"2"'], 412), (['"1"', "*"], 400), (["*", "*"], 400)],
)
async def test_several_headers_are_the_same_as_a_list(world: World, tags: list[str], status: int) -> None:
    owner = await world.owner()
    url = await project(owner)
    answer = await owner.client.patch(url, json={"name": "x"}, headers=[("if-match", tag) for tag in tags])
    assert answer.status_code == status, answer.text


async def test_of_two_changes_of_one_version_one_is_refused(world: World) -> None:
    owner = await world.owner()
    url = await project(owner)
    answers = await asyncio.gather(
        *(owner.client.patch(url, json={"name": name}, headers={"if-match": '"1"'}) for name in ("a", "b", "c"))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412]
    assert (await owner.client.get(url)).json()["version"] == 2


async def test_a_change_of_nothing_is_no_new_version(world: World) -> None:
    owner = await world.owner()
    url = await project(owner)
    answer = await owner.client.patch(url, json={"name": "Website"}, headers={"if-match": '"1"'})
    assert answer.headers["etag"] == '"1"'


async def test_who_has_the_current_version_is_told_so_and_no_more(world: World) -> None:
    owner = await world.owner()
    url = await project(owner)
    for known in ('"1"', 'W/"1"', '"0", "1"', "*"):
        answer = await owner.client.get(url, headers={"if-none-match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"1"')
        assert "content-type" not in answer.headers
    for other in ('"2"', "1", "", '"11"'):
        assert (await owner.client.get(url, headers={"if-none-match": other})).status_code == 200
    changed = await owner.client.patch(url, json={"name": "x"}, headers={"if-match": '"1"', "if-none-match": '"2"'})
    assert changed.status_code == 200
    assert (await owner.client.get(url, headers={"if-none-match": '"1"'})).json()["name"] == "x"


async def test_what_time_and_others_change_has_another_tag_without_a_new_version(world: World) -> None:
    owner = await world.owner()
    admin = await world.member(owner.organization_id, "admin")
    made = await invite(admin)
    url = owner.url(f"/invitations/{made['id']}")
    tags = []
    for happens in (None, partial(demotion, owner, admin), partial(expire, world, made)):
        if happens is not None:
            await happens()
        got = await owner.client.get(url)
        tags.append(got.headers["etag"])
        assert got.json()["version"] == 1
        for known in [*tags, *(f"W/{tag}" for tag in tags)]:
            again = await owner.client.get(url, headers={"if-none-match": known})
            assert again.status_code == (304 if tags[-1] in known else 200), (known, tags)
            assert again.headers["etag"] == tags[-1]
    assert tags == ['"1.pending.true"', '"1.pending.false"', '"1.expired.false"']
    for stale in (*tags[:-1], '"1"'):
        for verb in ("resending", "revocation"):
            assert (await owner.client.post(f"{url}/{verb}", headers={"if-match": stale})).status_code == 412
    again = await owner.client.post(f"{url}/resending", headers={"if-match": tags[-1]})
    assert again.status_code == 200
    assert again.headers["etag"] == (await owner.client.get(url)).headers["etag"] not in tags


async def demotion(owner: Member, admin: Member) -> None:
    """Who invited may do so no longer."""
    place = owner.url(f"/members/{admin.membership_id}")
    done = await owner.client.patch(place, json={"role": "viewer"}, headers={"if-match": "*"})
    assert done.status_code == 200, done.text


async def test_a_new_resource_says_where_it_is(world: World) -> None:
    owner = await world.owner()
    made = [
        await owner.client.post(owner.url("/projects"), json={"name": "Website", "key": "WEB"}),
        await owner.client.post(owner.url("/teams"), json={"name": "Design"}),
        await owner.client.post(owner.url("/invitations"), json={"email": "a@example.com", "role": "viewer"}),
        await owner.client.post("/v1/organizations", json={"name": "Another"}),
    ]
    for answer in made:
        assert answer.status_code == 201, answer.text
        got = await owner.client.get(answer.headers["location"])
        assert got.json() == answer.json()
    again = await owner.client.post(f"{made[2].headers['location']}/resending")
    assert again.status_code == 200
    assert "location" not in again.headers, "an action made nothing"


async def test_whoever_accepted_is_told_where_their_membership_is(world: World) -> None:
    owner, person, other = await world.owner(), await world.person(), await world.person()
    listed = await invite(owner, other.email, role="billing")
    joined = await join(world, await token_of(world, await invite(owner, role="billing")))
    made = [
        (joined, joined.json()["session"]["token"]),
        (await accept(world, person, await token_of(world, await invite(owner, person.email))), person.token),
        (await world.client(other.token).post(f"/v1/me/invitations/{listed['id']}/acceptance"), other.token),
    ]
    for answer, token in made:
        assert answer.status_code == 201, answer.text
        got = await world.client(token).get(answer.headers["location"])
        assert got.json()["id"] == answer.json().get("membership", answer.json())["member_id"]


async def test_a_batch_makes_several_and_so_names_no_one_address(world: World) -> None:
    owner = await world.owner()
    batch = {"invitations": [{"email": f"{name}@example.com", "role": "viewer"} for name in "ab"]}
    made = await owner.client.post(owner.url("/invitations/batch"), json=batch)
    assert (made.status_code, "location" in made.headers) == (201, False), made.text


async def test_a_row_that_was_never_changed_has_one_moment(world: World) -> None:
    owner = await world.owner()
    for path, body in (("/projects", {"name": "Website", "key": "WEB"}), ("/teams", {"name": "Design"})):
        made = (await owner.client.post(owner.url(path), json=body)).json()
        assert made["created_at"] == made["updated_at"]
