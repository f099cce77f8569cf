"""A watch over the whole run: no secret that it mints or sends may stand in a log line or an error answer."""

import json
import re
import secrets
from base64 import b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec
import pytest
import structlog

from insula.core import tokens
from tests.answers import content_of, listen

SHORTEST: Final = 12
"""Anything may contain what is shorter."""
_FEWEST_LETTERS: Final = 6
"""Anything may contain what is as plain as "aaaaaaaaaaaa"."""
_PIECE: Final = 8
_STRIDE: Final = SHORTEST - _PIECE + 1
"""Of every so many places in a line, one is looked at: a secret has a known piece at each of its first so many."""
_NAMES: Final = re.compile(r"(?i).*(passw|token|secret|otp|api_?key|csrf).*")
_HINTS: Final = (b"passw", b"token", b"secret", b"otp", b"api_key", b"apikey", b"csrf")
_HEADERS: Final = ("authorization", "idempotency-key", "cookie", "x-csrf-token")
_OURS: Final = re.compile(r"ins_[a-z]+_[a-z0-9]{26}([a-z0-9]{39})")


class Watch:
    """The secrets of a run, and all that the program said in it."""

    def __init__(self) -> None:
        self._spellings: set[str] = set()
        self._by_piece: dict[str, list[tuple[int, str]]] = {}
        self._said: list[str] = []
        self._files: list[Path] = []
        self._shown: set[str] = set()

    def remember(self, secret: str) -> None:
        """A canary from now on, and in what was said before: an answer is logged before its cookie is seen."""
        if token := _OURS.fullmatch(secret):
            secret = token[1]  # the rest names its row, which is no secret
        if secret in self._spellings or secret in self._shown:
            return
        if len(secret) < SHORTEST or len(set(secret)) < _FEWEST_LETTERS:
            return
        for spelling in {secret, json.dumps(secret)[1:-1], quote(secret, safe="")} - self._spellings:
            self._spellings.add(spelling)
            for place in range(_STRIDE):
                self._by_piece.setdefault(spelling[place : place + _PIECE], []).append((place, spelling))

    def shown(self, password: str) -> None:
        """No canary: the program prints it for whoever starts it."""
        self._shown.add(password)

    def said(self, text: str) -> None:
        self._said.append(text)

    def said_in(self, file: Path) -> None:
        """A process writes here; read when the run is over."""
        self._files.append(file)

    def leaks(self) -> list[str]:
        """Every line with a secret in it, each once."""
        read = [line for file in self._files if file.exists() for line in file.read_text(errors="replace").splitlines()]
        return self.found([*self._said, *read])

    def found(self, lines: list[str]) -> list[str]:
        """Those with a secret in them."""
        return list(dict.fromkeys(line for line in lines if self._leaks(line)))

    def _leaks(self, line: str) -> bool:
        """The cost is that of the line, however many secrets there are."""
        known = self._by_piece
        for start in range(0, len(line) - _PIECE + 1, _STRIDE):
            for place, secret in known.get(line[start : start + _PIECE], ()):
                if place <= start and line.startswith(secret, start - place):
                    return True
        return False


WATCH: Final = Watch()


class WatchedLogger(structlog.WriteLogger):
    """Where the program's log lines end, whoever wrote them."""

    def msg(self, message: str) -> None:
        WATCH.said(message)
        super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def pytest_configure(config: pytest.Config) -> None:
    structlog._output.WriteLogger = WatchedLogger
    _watch_minting()
    listen(_answered)


def _watch_minting() -> None:
    compose, token_bytes = tokens._compose, secrets.token_bytes

    def remembered_token(kind: tokens.Kind, credential: str, secret: bytes) -> str:
        token = compose(kind, credential, secret)
        WATCH.remember(token)
        return token

    def remembered_bytes(count: int | None = None) -> bytes:
        made = token_bytes(count)
        WATCH.remember(b64encode(made).decode().rstrip("="))
        WATCH.remember(made.hex())
        return made

    tokens._compose, secrets.token_bytes = remembered_token, remembered_bytes


def _answered(request: httpx.Request, answer: httpx.Response) -> None:
    content = content_of(answer)
    sent = (*_in_headers(request.headers), *_in_body(_content(request)))
    baked = answer.cookies.values() if "set-cookie" in answer.headers else ()
    for secret in (*sent, *baked, *_in_body(content)):
        WATCH.remember(secret)
    if answer.is_error:
        WATCH.said(f"{answer.status_code} to {request.method}: {content.decode(errors='replace')}")


def _content(request: httpx.Request) -> bytes:
    return request.content if hasattr(request, "_content") else b""  # one that is streamed has none yet


def _in_headers(headers: httpx.Headers) -> Iterator[str]:
    for name in _HEADERS:
        for value in headers.get_list(name):
            for part in value.split(";"):  # "Bearer x", "a=x; b=y" and a bare "x"
                yield re.sub(r"(?i)^\s*(?:bearer |basic |[\w-]+=)", "", part)


def _in_body(content: bytes) -> Iterable[str]:
    small = content.lower()
    if not any(hint in small for hint in _HINTS):
        return ()
    try:
        return _in_json(msgspec.json.decode(content))
    except (msgspec.DecodeError, RecursionError):
        return ()


def _in_json(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _in_json(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, str) and _NAMES.fullmatch(name):
                yield item
            else:
                yield from _in_json(item)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Each worker has looked at its own; here is where the run is judged."""
    found = getattr(node, "workeroutput", {}).get("leaks", [])
    node.config.stash.setdefault(_LEAKS, []).extend(found)


def pytest_sessionfinish(session: pytest.Session) -> None:
    leaks = session.config.stash.setdefault(_LEAKS, [])
    leaks.extend(WATCH.leaks())
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["leaks"] = leaks
    if leaks and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if leaks := config.stash.get(_LEAKS, []):
        terminalreporter.section("secrets in logs or error answers", red=True)
        for line in leaks[:_SHOWN]:
            terminalreporter.line(line)
        terminalreporter.line(f"{len(leaks)} in all")


_SHOWN: Final = 20
_LEAKS: Final = pytest.StashKey[list[str]]()
