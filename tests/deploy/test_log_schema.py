"""What the program writes to its log is what deploy/logs.schema.json says, no more and no less."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator

from insula.settings import Settings
from tests.architecture.sources import last_name, sources
from tests.deploy.fleet import Fleet
from tests.factories import World

SCHEMA = json.loads((Path(__file__).parents[2] / "deploy" / "logs.schema.json").read_text())
LINES = Draft202012Validator(SCHEMA)

METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
FUNCTIONS = {"log", "write", "_happened", "bind_contextvars"}
BINDER = "bound_contextvars"
BY_LOGS_ITSELF = {"time", "level", "message", "logger", "exception"}


def written() -> set[str]:
    """Every field that the program's own code gives to a line."""
    fields = set()
    for source in sources("src/insula"):
        for name, call in source.calls():
            if name == BINDER or _writes(name, call.func):
                fields |= {keyword.arg for keyword in call.keywords if keyword.arg not in {None, "exc_info"}}
    return fields


def _writes(name: str, called: ast.expr) -> bool:
    if isinstance(called, ast.Attribute):
        return name in METHODS and last_name(called.value) in {"log", "_log"}
    return name in FUNCTIONS


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_it_knows_every_field_that_is_written_and_no_other() -> None:
    assert written() | BY_LOGS_ITSELF == SCHEMA["properties"].keys()


def test_every_field_is_explained() -> None:
    assert [name for name, field in SCHEMA["properties"].items() if not field.get("description")] == []


LINE = {"time": "2026-11-21T05:00:00.000+00:00", "level": "info", "message": "api stopped"}


@pytest.mark.parametrize(
    "planted",
    [
        LINE | {"level": "notice"},
        LINE | {"time": "2026-11-21 05:00:00"},
        LINE | {"email": "olivia@example.com"},
        LINE | {"status": "200"},
        LINE | {"message": "request"},
        LINE | {"attempt": 1},
        {"level": "info", "message": "no time"},
    ],
)
def test_it_refuses(planted: dict[str, Any]) -> None:
    assert LINES.is_valid(LINE)
    assert not LINES.is_valid(planted)


async def test_lines_of_a_real_api_and_a_real_worker_keep_to_it(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    owner = await world.owner()
    nobody_takes_mail = msgspec.structs.replace(
        settings, metrics_port=0, log_json=True, log_level="debug", smtp_port=1, owner_database_url=None
    )
    async with Fleet(nobody_takes_mail, tmp_path, apis=1, workers=1) as fleet:
        api, worker = fleet.apis[0], fleet.workers[0]
        headers = {"authorization": f"Bearer {owner.person.token}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.port}", timeout=30) as client:
            assert (await client.get(owner.url("/projects"), headers=headers)).status_code == 200
            assert (await client.get("/nowhere")).status_code == 404
            assert (await client.get("/v1/me", headers={"authorization": "Bearer nothing"})).status_code == 401
            wrong = {"email": owner.person.email, "password": "not the password of anybody"}
            assert (await client.post("/v1/auth/sign-in", json=wrong)).status_code == 401
            invited = {"email": "guest@example.com", "role": "member"}
            assert (await client.post(owner.url("/invitations"), json=invited, headers=headers)).status_code == 201
        await worker.says("job failed")
        await api.restart()
        await worker.restart()
    lines = [*read(api.log), *read(worker.log)]
    broken = [f"{error.message}: {line}" for line in lines for error in LINES.iter_errors(line)]
    assert broken == []
    said = {line["message"] for line in lines}
    assert said >= {"request", "sign_in refused", "job failed", "api draining", "worker started", "worker stopped"}
    assert {"tenant", "user", "exception", "job_id"} <= {name for line in lines for name in line}


def read(log: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, log.read_text().splitlines())
