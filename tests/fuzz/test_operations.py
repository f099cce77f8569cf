"""Every operation with generated requests: no server error, and no answer that the document does not declare."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from insula.settings import Settings
from tests.factories import World
from tests.journeys.test_processes import Process, answers, environment, free_port

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
CALLERS = ["owner", "viewer", "stranger"]


@pytest.fixture(scope="module")
async def url(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The program as a process of its own."""
    port, folder = free_port(), Path(tmp_path_factory.mktemp("fuzz"))
    api = Process("api", environment(settings, port=port), folder / "api.log")
    try:
        await answers(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        await asyncio.to_thread(api.end)


@pytest.mark.attack(116)
@pytest.mark.parametrize("caller", CALLERS)
async def test_no_operation_fails_or_answers_what_it_does_not_declare(
    world: World, url: str, caller: str, pytestconfig: pytest.Config
) -> None:
    examples: int = pytestconfig.getoption("--fuzz-examples", 2)
    async with httpx.AsyncClient() as client:
        document = (await client.get(f"{url}/openapi.json")).json()
    schema = schemathesis.openapi.from_dict(document)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 60
    for operation in operations:
        # Somebody new for each: signing out or leaving must not make the next operation's questions meaningless.
        owner = await world.owner()
        asking = await world.member(owner.organization_id, "viewer") if caller == "viewer" else owner
        headers = {} if caller == "stranger" else {"authorization": f"Bearer {asking.person.token}"}
        await asyncio.to_thread(ask, operation, url, headers, owner.organization_id, examples)


def ask(operation: Any, url: str, headers: dict[str, str], organization: str, examples: int) -> None:
    """Generate requests for one operation and judge the answers."""

    @hypothesis_settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        derandomize=examples < 10,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def judge(case: Any) -> None:
        if "organization_id" in (case.path_parameters or {}):
            case.path_parameters["organization_id"] = organization
        answer = case.call(base_url=url, headers=headers)
        case.validate_response(answer, checks=CHECKS)

    judge()
