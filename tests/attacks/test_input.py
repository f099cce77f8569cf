"""SQL in every parameter of every list."""

import pytest
from litestar import Litestar

from insula.core.http.guard import declared_routes
from insula.core.http.parameters import QUERY_TYPES
from tests.factories import World

HOSTILE = [
    "' OR 1=1 --",
    "'; DROP TABLE app.project; --",
    '" OR ""="',
    "1) OR (1=1",
    "name; SELECT pg_sleep(9)",
    "$1",
    "%27%20OR%201",
    "\\'; --",
    "id)::text||(SELECT 1)",
    "-name, (SELECT 1)",
    '{"$gt": 1}',
    "/*",
    "0x27",
    "%(name)s",
    ":id",
]


@pytest.mark.attack(118)
async def test_sql_in_a_parameter_is_a_value_like_any_other(world: World, litestar: Litestar) -> None:
    owner = await world.owner()
    await owner.client.post(owner.url("/projects"), json={"name": "Mine", "key": "MINE"})
    tried = 0
    for method, path, handler in declared_routes(litestar):
        names = handler.opt.get(QUERY_TYPES) or {}
        if method != "GET" or not names or "operator" in handler.opt or path.count("{") > 1:
            continue
        url = path.replace("{organization_id}", owner.organization_id)
        for name in sorted(names):
            for text in HOSTILE:
                answer = await owner.client.get(url, params={name: text})
                assert answer.status_code in {200, 400}, (url, name, text, answer.text)
                if answer.status_code == 200 and name != "name_prefix":
                    assert answer.json()["data"] == [], (url, name, text)
                tried += 1
    assert tried > 200
    assert await world.superuser.fetchval("SELECT count(*) > 0 FROM app.project")
