"""Projects over HTTP."""

from tests.factories import World


async def test_a_project_is_created_read_changed_deleted_and_restored(world: World) -> None:
    owner = await world.owner()
    made = await owner.client.post(owner.url("/projects"), json={"name": "Website", "key": "WEB"})
    assert made.status_code == 201, made.text
    project = made.json()
    assert made.headers["etag"] == '"1"'
    got = await owner.client.get(owner.url(f"/projects/{project['id']}"))
    assert got.json() == project
    url = owner.url(f"/projects/{project['id']}")
    changed = await owner.client.patch(url, json={"name": "Shop"}, headers={"if-match": '"1"'})
    assert changed.status_code == 200, changed.text
    assert changed.json()["name"] == "Shop"
    assert changed.json()["version"] == 2
    assert (await owner.client.delete(url, headers={"if-match": '"1"'})).status_code == 412
    assert (await owner.client.delete(url, headers={"if-match": '"2"'})).status_code == 204
    assert (await owner.client.get(url)).status_code == 404
    restored = await owner.client.post(owner.url(f"/deleted-projects/{project['id']}/restoration"))
    assert restored.status_code == 201, restored.text
    page = await owner.client.get(owner.url("/projects"))
    assert [row["id"] for row in page.json()["data"]] == [project["id"]]
