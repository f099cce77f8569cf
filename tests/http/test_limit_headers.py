"""Where callers are told of their limits, and where the document says so."""

import re
from typing import Any

import httpx

from insula.core.http.authentication import COOKIE
from insula.core.tokens import credential_id, mint
from tests.factories import World
from tests.http.conftest import Operation

NAMES = {"RateLimit", "RateLimit-Policy"}


async def test_the_document_says_exactly_where_limits_are_told(
    world: World, document: dict[str, Any], operations: list[Operation]
) -> None:
    met = set()
    for method, path, operation in operations:
        for caller, answer in (await asked(world, method, path, operation)).items():
            response = declared(document, operation, answer.status_code)
            told = NAMES & set(response.get("headers", {}))
            sent = {name for name in NAMES if name.lower() in answer.headers}
            met.add((answer.status_code, bool(sent)))
            # Other answers of the same status may tell it: whoever guesses and what is forged is counted where nobody hears.
            others = {401: caller == "guesser", 403: caller == "page" and response.get("x-codes") != ["cross_site"]}
            what = f"{caller}: {method} {path} {answer.status_code}"
            assert sent <= told if others.get(answer.status_code) else sent == told, what
    assert {(200, True), (200, False), (401, True), (401, False), (403, False), (404, True)} <= met


def declared(document: dict[str, Any], operation: dict[str, Any], status: int) -> dict[str, Any]:
    response: dict[str, Any] = operation["responses"][str(status)]
    name = response.get("$ref", "").rpartition("/")[2]
    return document["components"]["responses"].get(name, response)


async def asked(world: World, method: str, path: str, operation: dict[str, Any]) -> dict[str, httpx.Response]:
    """The answers to who shows nothing, guesses, is let in, and to a page elsewhere that uses the owner's cookie."""
    owner = await world.owner()
    url = re.sub(r"\{\w+\}", "nothing", path.replace("{organization_id}", owner.organization_id))
    body = {"json": {}} if "requestBody" in operation else {}
    callers = {
        "nobody": world.client(),
        "guesser": world.client(mint("session", credential_id())),
        "owner": owner.client,
        "page": world.client(),
    }
    foreign = {"cookie": f"{COOKIE}={owner.person.token}", "origin": "https://elsewhere.example"}
    return {
        name: await client.request(method, url, headers=foreign if name == "page" else None, **body)
        for name, client in callers.items()
    }
