"""The examples that "Try it out" prefills: whoever sends one is not refused for what it says, and makes no owner."""

import json
from typing import Any

import pytest

from tests.factories import World
from tests.features.signing_in import PASSWORD
from tests.fuzz.furnishing import Scene, furnish
from tests.http.conftest import Operation

IDS_AND_TOKENS = ("_id", "token")
"""What no document can know: ids of what exists, and what letters say."""


async def test_no_example_of_a_body_is_refused_for_what_it_says(world: World, operations: list[Operation]) -> None:
    refused = []
    for method, path, operation in operations:
        if "requestBody" in operation:
            answer = await sent(world, method, path, operation)
            if answer.status_code in {400, 422}:
                refused.append(f"{method} {path}: {answer.text}")
    assert not refused, "\n".join(refused)


def test_no_example_hands_out_the_role_of_an_owner(operations: list[Operation]) -> None:
    bodies = {operation["operationId"]: example_of(operation) for _, _, operation in operations}
    assert bodies["create_invitation"]["role"] == "member"
    assert {name for name, body in bodies.items() if '"owner"' in json.dumps(body)} == set()


@pytest.mark.parametrize(("operation", "name"), [("create_team", "Web shop"), ("create_project", "Website relaunch")])
def test_a_field_may_have_an_example_of_its_own(operations: list[Operation], operation: str, name: str) -> None:
    (body,) = [example_of(each) for _, _, each in operations if each["operationId"] == operation]
    assert body["name"] == name


def example_of(operation: dict[str, Any]) -> Any:
    body = operation.get("requestBody", {"content": {"application/json": {}}})
    return body["content"]["application/json"].get("example")


async def sent(world: World, method: str, path: str, operation: dict[str, Any]) -> Any:
    """The answer to the example, in a world of its own: an owner's, with all that the path and the body name."""
    scene, name = await furnish(world, "owner"), operation["operationId"]
    body = await filled(scene, name, example_of(operation))
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", (await scene.values(parameter["name"], name))[0])
    session = scene.headers if operation["security"] else {}
    return await world.client().request(method.upper(), path, json=body, headers={"if-match": "*", **session})


async def filled(scene: Scene, operation: str, body: dict[str, Any]) -> dict[str, Any]:
    """The example; ids and tokens are those of this world, and whoever shows a password has it."""
    known = {
        name: (await scene.values(name, operation))[0]
        for name, value in body.items()
        if value is not None and name.endswith(IDS_AND_TOKENS)
    }
    if "current_password" in body:
        assert (await scene.values("current_password", operation))[0] == body["current_password"] == PASSWORD
    return body | known
