"""Idempotency-Key: the same key and request get the same answer, from Postgres, sealed under the client's own key."""

import hashlib
import hmac
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler

from insula.core import crypto
from insula.core.db import Transaction
from insula.core.errors import Conflict, DomainError, InvalidRequest, Unprocessable, Wrong
from insula.core.http.bodies import Incoming
from insula.core.http.entrance import Entrance
from insula.core.http.headers import values_of
from insula.core.http.preconditions import sent_tags
from insula.core.http.reply import Reply
from insula.core.journal import StoredAnswer

ASKED: Final = "insula_idempotency"
_MAX_KEY: Final = 255
_NOT_KEPT: Final = frozenset({"content-length", "set-cookie", "ratelimit", "ratelimit-policy"})


class RequestInProgress(Conflict):
    code, title = "request_in_progress", "The first request with this Idempotency-Key is still running"


class KeyReused(Unprocessable):
    code, title = "idempotency_key_reused", "This Idempotency-Key was used with another request"


class Asked(msgspec.Struct):
    """A request's key, and what the door found of it: it looks there and then, which saves the request a round trip."""

    secret: bytes
    name: bytes
    fingerprint: bytes
    """Of the request, under the sender's secret: who reads the table cannot guess what was sent."""
    entrance: Entrance | None = None
    """What the door was shown."""
    found: Any = None
    """The door's row: whether nobody else is at it, and a stored answer."""


def has_stored_answer(scope: Any) -> bool:
    """Whether this request of this caller's has an answer already: ``replay`` gives it, and no handler runs."""
    this: Asked | None = scope.get(ASKED)
    if this is None or this.found is None or this.found["answer"] is None:
        return False
    return bool(this.found["fingerprint"] == this.fingerprint)


class _Answer(msgspec.Struct, frozen=True):
    status: int
    headers: list[tuple[str, str]]
    body: bytes


def asked(scope: Any, token: str, body: Incoming) -> Asked | None:
    """What the door is to look for. A key that is no key is complained about when the door has let its sender in.

    The key, the credential and the organization together name the answer: nobody else's key collides with it, and
    neither the database nor its backups can read it. Another If-Match is another request: nobody may believe that
    theirs was heeded when it was the first one's.
    """
    if scope["method"] != "POST" or not takes_key(scope["route_handler"]):
        return None
    keys = values_of(scope, b"idempotency-key")
    if _wanted(keys):
        return None
    organization = scope["path_params"].get("organization_id", "")
    secret = hashlib.sha256(f"{token}\0{organization}\0{keys[0]}".encode()).digest()
    tags = [",".join(sent).encode()] if (sent := sent_tags(scope)) else []
    said = b"\0".join([scope["raw_path"], scope["query_string"], body.content, *tags])
    return Asked(secret, hashlib.sha256(b"name" + secret).digest(), hmac.digest(secret, said, "sha256"))


def replay(request: Request[Any, Any, Any]) -> Response[bytes] | None:
    """Before the handler, after the guard: answer a repeated POST from what was stored, or arrange for storing.

    Duplicates of a request still running are answered 409 without waiting, so they hold no connection.
    """
    this: Asked | None = request.scope.get(ASKED)  # type: ignore[assignment]
    if this is None:
        _refuse_wrong_key(request)
        return None
    if not this.found["locked"]:
        raise RequestInProgress(headers={"retry-after": "1"})
    if this.found["answer"] is not None:
        return _stored_answer(this)

    def remember(committing: Transaction, start: Any, first: Any) -> None:
        if first.get("more_body"):
            raise DomainError(private="a streamed answer cannot be kept for its Idempotency-Key")
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in start["headers"]]
        kept = [(k, v) for k, v in headers if k.lower() not in _NOT_KEPT]
        answer = msgspec.msgpack.encode(_Answer(start["status"], kept, first.get("body", b"")))
        sealed = crypto.seal(_key(this.secret), answer, this.name)
        assert this.entrance is not None
        operator = this.entrance.secret if this.entrance.operator else None
        committing.journal.answer = StoredAnswer(this.name, this.fingerprint, sealed, operator)

    request.scope["insula_remember"] = remember  # type: ignore[typeddict-unknown-key]
    return None


def _refuse_wrong_key(request: Request[Any, Any, Any]) -> None:
    if request.method != "POST" or not takes_key(request.route_handler):
        return
    keys = request.headers.getall("idempotency-key", [])
    if keys and (wanted := _wanted(keys)):
        raise InvalidRequest.about("header/Idempotency-Key", Wrong.MALFORMED, wanted)


def _wanted(keys: list[str]) -> str:
    """What a key should have been; empty for a good one.

    Two of them may arrive as two headers or, folded by a proxy, as one with a comma.
    """
    key = keys[0] if keys else ""
    if len(keys) > 1 or "," in key:
        return "one key, without commas: several headers of this name are the same as a list"
    if not key or len(key) > _MAX_KEY or not (key.isascii() and key.isprintable()):
        return f"1 to {_MAX_KEY} printable ASCII characters"
    return ""


def takes_key(handler: HTTPRouteHandler) -> bool:
    """Whether a POST of this route may carry a key: what is public has no credential to keep its answer under."""
    return "public" not in handler.opt


def _stored_answer(this: Asked) -> Response[bytes]:
    if this.found["fingerprint"] != this.fingerprint:
        raise KeyReused
    opened = crypto.unseal(_key(this.secret), this.found["answer"], this.name)
    if opened is None:
        raise KeyReused(private="a stored answer does not open: it was altered")
    answer = msgspec.msgpack.decode(opened, type=_Answer)
    headers = {name: value for name, value in answer.headers if name.lower() != "content-type"}
    media_type = next((v for k, v in answer.headers if k.lower() == "content-type"), "application/json")
    return Reply(
        answer.body,
        status_code=answer.status,
        headers={**headers, "idempotent-replayed": "true"},
        media_type=media_type,
    )


def _key(secret: bytes) -> bytes:
    return crypto.derive(secret, "insula/idempotent-answer")
