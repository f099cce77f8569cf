"""A request's JSON body, read strictly: what one parser would read otherwise than the next is refused."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeAlias, get_type_hints

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.types import HTTPScope, Receive
from litestar.utils.scope.state import ScopeState

from insula.core.errors import FieldError, InvalidRequest, RequestTimeout, TooLarge, UnsupportedMediaType, Wrong
from insula.core.http.complaints import UNCLEAR, complaints
from insula.core.http.headers import values_of

ALSO_WRONG: Final = "also_wrong"
"""Handler option: a ``Judge`` of the rest of a body that is refused, where a service judges more than its form."""

Judge: TypeAlias = Callable[[State, str, Mapping[str, Any], frozenset[str]], Awaitable[Sequence[FieldError]]]
"""Is told the application's state, the client's address, what was sent, and which pointers are complained about."""

_CHARSET: Final = re.compile(r';\s*charset="?([^";\s]*)', re.IGNORECASE)
_LONGEST_NAME: Final = 100
_SECONDS: Final = 30.0
_PIECES: Final = 1024
_PIECE: Final = 256
"""A body comes in so many pieces, and one more for each so many bytes of it: a chunk of one byte costs more to receive
than a hundred of what it holds."""


class Incoming:
    """A request's body as it comes in: received ahead of time, and read again by a second run of the handler; what
    nobody received ahead is read once.

    ``most`` is how many bytes a handler takes.
    """

    def __init__(self, scope: HTTPScope, receive: Receive, most: int) -> None:
        announced = next(iter(values_of(scope, b"content-length")), "")
        self._announced = int(announced[:16]) if announced.isdecimal() else 0
        self._receive, self._most = receive, most
        self._content: bytearray | bytes = bytearray()
        self._pieces = 0
        self._whole = self._read = False

    async def receive(self, limit: int, take: Callable[[int], None] | None = None) -> bool:
        """Receive until it is whole or longer than ``limit`` bytes; returns whether it is whole.

        ``take`` is told the length of every piece, and may object. Raises RequestTimeout for a body that trickles, and
        InvalidRequest for one in crumbs, or when its sender went away.
        """
        try:
            async with asyncio.timeout(_SECONDS):
                while not self._whole and self.length <= limit:
                    length = await self._receive_piece()
                    if take is not None and self.length <= limit:  # else it is refused whatever room there is
                        take(length)
        except TimeoutError as error:
            raise RequestTimeout from error
        return self._whole

    async def _receive_piece(self) -> int:
        message: Any = await self._receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("The body ended early.")
        piece = message.get("body", b"")
        self._content += piece
        self._pieces += 1
        if self._pieces > _PIECES + self.length // _PIECE:
            raise InvalidRequest("The body comes in too many small pieces: send it in fewer, or with a Content-Length.")
        self._whole = not message.get("more_body", False)
        if self._whole:
            self._content = bytes(self._content)  # and is not copied again
        return len(piece)

    async def __call__(self) -> Any:
        if self._read:
            return await self._receive()
        self._read = True
        return {"type": "http.request", "body": bytes(self._content), "more_body": not self._whole}

    @property
    def length(self) -> int:
        """Of what was received."""
        return len(self._content)

    @property
    def content(self) -> bytes:
        """All of it. Raises TooLarge."""
        if max(self.length, self._announced) > self._most:
            raise TooLarge(f"At most {self._most} bytes are read here.")
        return bytes(self._content)

    def rewind(self) -> None:
        """Read from the start again."""
        self._read = False


async def read_body(request: Request[Any, Any, Any]) -> None:
    """Decode the body into the very type the handler asks for, and leave it where Litestar looks for it.

    Litestar itself would read numbers and booleans out of strings. Raises UnsupportedMediaType, and InvalidRequest
    for a body that is missing, malformed, ambiguous, of two kinds or of another shape.
    """
    decoder = _decoder_of(request.route_handler.fn)
    if decoder is None:
        return
    assert isinstance(request.receive, Incoming)  # all of it was received before the transaction began
    body = request.receive.content
    if not body:
        raise InvalidRequest.about("", Wrong.MISSING, "a JSON body is needed")
    _refuse_other_kinds(request)
    try:
        # First the one that stops at the first thing that does not belong: what is left for the other, in Python, is
        # as small as what the handler takes.
        decoded, wrong = _converted(body, decoder)
        if not wrong:
            _UNAMBIGUOUS.decode(body.decode())
    except UnicodeDecodeError as error:
        raise InvalidRequest("The body is not UTF-8.") from error
    except RecursionError as error:
        raise InvalidRequest("The body is nested too deeply.") from error
    except ValueError as error:
        if _holds_half_a_pair(body):
            raise InvalidRequest(
                "The body holds half of a surrogate pair, such as \\ud800, which is no text."
            ) from error
        raise InvalidRequest(f"The body is not valid JSON: {error}") from error
    if wrong:
        raise InvalidRequest(errors=[*wrong, *await _also_wrong(request, decoded, wrong)])
    ScopeState.from_scope(request.scope).json = decoded


def _refuse_other_kinds(request: Request[Any, Any, Any]) -> None:
    if len(values_of(request.scope, b"content-type")) > 1:
        raise InvalidRequest.about("header/Content-Type", Wrong.REPEATED, "given more than once")
    if not _is_json(request) or _header(request, b"content-encoding", "identity") != "identity":
        raise UnsupportedMediaType


def _holds_half_a_pair(body: bytes) -> bool:
    """RFC 8259, section 8.2. Of one near the end, msgspec only says that the input was cut off."""
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def _converted(body: bytes, decoder: msgspec.json.Decoder[Any]) -> tuple[Any, list[FieldError]]:
    """The body as the handler takes it; or as it was sent, and what is wrong with it."""
    try:
        return decoder.decode(body), []
    except msgspec.ValidationError:
        sent = msgspec.json.decode(body)
        return sent, complaints(sent, decoder.type) or [FieldError("", Wrong.MALFORMED, UNCLEAR)]


async def _also_wrong(request: Request[Any, Any, Any], sent: Any, wrong: list[FieldError]) -> Sequence[FieldError]:
    judge: Judge | None = request.route_handler.opt.get(ALSO_WRONG)
    if judge is None or not isinstance(sent, dict):
        return ()
    client: str = request.scope["state"]["client_address"]
    return await judge(request.app.state, client, sent, frozenset(error.pointer for error in wrong))


@cache
def _decoder_of(handler: Callable[..., Any]) -> msgspec.json.Decoder[Any] | None:
    hints = get_type_hints(handler, include_extras=True)
    return msgspec.json.Decoder(hints["data"]) if "data" in hints else None


def _is_json(request: Request[Any, Any, Any]) -> bool:
    content_type = _header(request, b"content-type", "")
    charset = _CHARSET.search(content_type)
    return content_type.partition(";")[0].strip().lower() == "application/json" and (
        charset is None or charset[1].lower() == "utf-8"
    )


def _header(request: Request[Any, Any, Any], name: bytes, default: str) -> str:
    return next(iter(values_of(request.scope, name)), default)


def _once_each(pairs: list[tuple[str, Any]]) -> None:
    """RFC 7493, section 2.3: of two members with one name, parsers believe the first or the last as they please."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        ((repeated, _),) = Counter(names).most_common(1)  # one pass, however many names a stranger sends
        detail = f"the name {repeated[:_LONGEST_NAME]!r} is given more than once"
        raise InvalidRequest.about("", Wrong.REPEATED, detail)


# Python's decoder, beside msgspec's: two microseconds, and the only one of the two that shows repeated names.
_UNAMBIGUOUS: Final = json.JSONDecoder(object_pairs_hook=_once_each, parse_int=str, parse_float=str)
