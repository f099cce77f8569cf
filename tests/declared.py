"""A watch over the whole run: no operation answers with a problem that it does not declare.

With --every-refusal also the other way round: whatever a handler names, some test has provoked.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import httpx
import msgspec
import pytest
from litestar import Litestar

from insula.core.http.dependencies import DEPENDENCIES
from insula.core.http.guard import declared_routes
from insula.core.http.health import HEALTH_ROUTES
from insula.core.http.openapi import describe
from insula.core.http.refusals import REFUSALS
from insula.product import FEATURES
from tests.answers import content_of, listen

Refusal = tuple[str, int, str]
"""An operation, and the status and code of a problem."""

_MEDIA_TYPE: Final = "application/problem+json"
_OF_PROXIES: Final = 502
"""Answered by a proxy in front, where a process died over the request, and by no operation."""


class Asked(msgspec.Struct, frozen=True):
    """What was asked, and which problem was the answer."""

    method: str
    path: str
    status: int
    code: str


class Problems:
    """The problems of a run, each with the first test that met it."""

    def __init__(self) -> None:
        self._heard: dict[Asked, str] = {}

    def __bool__(self) -> bool:
        return bool(self._heard)

    def hear(self, request: httpx.Request, answer: httpx.Response) -> None:
        if answer.headers.get("content-type") != _MEDIA_TYPE or not (content := content_of(answer)):
            return
        if answer.status_code == _OF_PROXIES:
            return
        path = request.url.raw_path.partition(b"?")[0].decode("ascii")
        asked = Asked(request.method, path, answer.status_code, json.loads(content)["code"])
        self._heard.setdefault(asked, os.environ.get("PYTEST_CURRENT_TEST", "no test").partition(" ")[0])

    def of(self, operations: "Operations") -> dict[Refusal, str]:
        """Those that operations answered: what has another path or method is answered by none."""
        found = {}
        for asked, test in self._heard.items():
            if (operation := operations.at(asked.method, asked.path)) is not None:
                found.setdefault((operation, asked.status, asked.code), test)
        return found


class Operations:
    """What a document says of each operation."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._responses = document["components"]["responses"]
        paths = sorted(document["paths"].items(), key=lambda item: item[0].count("{"))  # /members/me before any member
        self._paths = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), item) for path, item in paths]
        self.declared = {refusal for _, item in paths for one in item.values() for refusal in self._refusals(one)}

    def at(self, method: str, path: str) -> str | None:
        """The name of the operation that such a request asks for."""
        item = next((item for pattern, item in self._paths if pattern.fullmatch(path)), {})
        operation = item.get(method.lower())
        return None if operation is None else operation["operationId"]

    def _refusals(self, operation: dict[str, Any]) -> Iterator[Refusal]:
        for status, response in operation["responses"].items():
            if "$ref" in response:
                for code in self._responses[response["$ref"].rpartition("/")[2]]["x-codes"]:
                    yield operation["operationId"], int(status), code


PROBLEMS: Final = Problems()


def undeclared(problems: dict[Refusal, str], declared: set[Refusal]) -> list[str]:
    """A line for each that its operation does not declare."""
    return [
        f"{operation} answered {status} {code} in {test}"
        for (operation, status, code), test in sorted(problems.items())
        if (operation, status, code) not in declared
    ]


def unprovoked(problems: Iterable[Refusal], named: set[Refusal]) -> list[str]:
    """A line for each that a handler names and nobody has met."""
    return [f"{operation} {status} {code}" for operation, status, code in sorted(named - set(problems))]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-refusal", action="store_true", help="fail when a refusal that a handler names is not met")


def pytest_configure(config: pytest.Config) -> None:
    listen(PROBLEMS.hear)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Each worker has judged its own; what all of them have met is judged here."""
    told = getattr(node, "workeroutput", {}).get("problems", {"met": [], "undeclared": []})
    node.config.stash.setdefault(_MET, set()).update(map(tuple, told["met"]))
    node.config.stash.setdefault(_UNDECLARED, []).extend(told["undeclared"])


def pytest_sessionfinish(session: pytest.Session) -> None:
    stash, every = session.config.stash, session.config.option.every_refusal
    met, lines = stash.setdefault(_MET, set()), stash.setdefault(_UNDECLARED, [])
    if PROBLEMS or every:
        app, operations = _program()
        problems = PROBLEMS.of(operations)
        met.update(problems)
        lines.extend(undeclared(problems, operations.declared))
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["problems"] = {"met": list(met), "undeclared": lines}
        return
    stash[_UNPROVOKED] = unprovoked(met, _named(app)) if every else []
    if (lines or stash[_UNPROVOKED]) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for title, key in (
        ("problems that their operations do not declare (refusals=)", _UNDECLARED),
        ("refusals that handlers name and no test has met", _UNPROVOKED),
    ):
        if lines := config.stash.get(key, []):
            terminalreporter.section(title, red=True)
            for line in lines:
                terminalreporter.line(line)


def _program() -> tuple[Litestar, Operations]:
    """The routes of the program, and those of the workshop beside them."""
    from tests.workshop import WorkshopController  # which needs conftest, and so this

    routes = [*HEALTH_ROUTES, *(each for feature in FEATURES for each in feature.controllers), WorkshopController]
    app = Litestar(routes, dependencies=dict(DEPENDENCIES), openapi_config=None, logging_config=None)
    return app, Operations(describe(app, routes))


def _named(app: Litestar) -> set[Refusal]:
    return {
        (handler.handler_name, error.status, error.code)
        for _, _, handler in declared_routes(app)
        for error in handler.opt.get(REFUSALS, ())
    }


_MET: Final = pytest.StashKey[set[Refusal]]()
_UNDECLARED: Final = pytest.StashKey[list[str]]()
_UNPROVOKED: Final = pytest.StashKey[list[str]]()
