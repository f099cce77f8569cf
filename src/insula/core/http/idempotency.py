"""Idempotency-Key: the same key and body get the same answer, from Postgres, encrypted under the client's own key."""

import hashlib
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler

from insula.core import crypto
from insula.core.db import Transaction
from insula.core.errors import Conflict, DomainError, FieldError, InvalidRequest, Unprocessable
from insula.core.http.door import DB, ORGANIZATION, PRESENTED
from insula.core.http.reply import Reply

_BEGIN: Final = "SELECT * FROM app.begin_idempotent($1)"
_MAX_KEY: Final = 255
_NOT_KEPT: Final = frozenset({"content-length", "set-cookie", "ratelimit", "ratelimit-policy"})


class RequestInProgress(Conflict):
    code, title = "request_in_progress", "The first request with this Idempotency-Key is still running"


class KeyReused(Unprocessable):
    code, title = "idempotency_key_reused", "This Idempotency-Key was used with another request"


class _Answer(msgspec.Struct, frozen=True):
    status: int
    headers: list[tuple[str, str]]
    body: bytes


async def replay(request: Request[Any, Any, Any]) -> Response[bytes] | None:
    """Before the handler, after the guard: answer a repeated POST from what was stored, or arrange for storing.

    The key, the credential and the organization together name the answer: nobody else's key collides with it, and
    neither the database nor its backups can read it. Duplicates of a request still running are answered 409 without
    waiting, so they hold no connection.
    """
    keys = request.headers.getall("idempotency-key", [])
    if not keys or request.method != "POST" or not takes_key(request.route_handler):
        return None
    key = _checked(keys)
    secret = _secret(request, key)
    name = hashlib.sha256(b"name" + secret).digest()
    fingerprint = hashlib.sha256(
        b"\0".join([request.scope["raw_path"], request.scope["query_string"], await request.body()])
    ).digest()
    transaction: Transaction = request.scope[DB]  # type: ignore[typeddict-item]
    found = await transaction.driver.fetchrow(_BEGIN, name)
    assert found is not None
    if not found["locked"]:
        raise RequestInProgress(headers={"retry-after": "1"})
    if found["answer"] is not None:
        return _stored_answer(found, fingerprint, secret)

    def remember(committing: Transaction, start: Any, first: Any) -> None:
        if first.get("more_body"):
            raise DomainError(private="a streamed answer cannot be kept for its Idempotency-Key")
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in start["headers"]]
        kept = [(k, v) for k, v in headers if k.lower() not in _NOT_KEPT]
        answer = msgspec.msgpack.encode(_Answer(start["status"], kept, first.get("body", b"")))
        committing.journal.answer = (name, fingerprint, crypto.seal(_key(secret), answer, name))

    request.scope["insula_remember"] = remember  # type: ignore[typeddict-unknown-key]
    return None


def _checked(keys: list[str]) -> str:
    """The one key. Two of them may arrive as two headers or, folded by a proxy, as one with a comma."""
    (key, *others) = keys
    if others or "," in key:
        wanted = "one key, without commas: several headers of this name are the same as a list"
    elif not key or len(key) > _MAX_KEY or not (key.isascii() and key.isprintable()):
        wanted = f"1 to {_MAX_KEY} printable ASCII characters"
    else:
        return key
    raise InvalidRequest(errors=[FieldError("header/Idempotency-Key", wanted)])


def takes_key(handler: HTTPRouteHandler) -> bool:
    """Whether a POST of this route may carry a key.

    Operators' verbs find nothing to do when they are repeated, and their login, which is in no person's context, can
    store no answers.
    """
    return not {"public", "operator"} & handler.opt.keys()


def _stored_answer(found: Any, fingerprint: bytes, secret: bytes) -> Response[bytes]:
    if found["fingerprint"] != fingerprint:
        raise KeyReused
    name = hashlib.sha256(b"name" + secret).digest()
    opened = crypto.unseal(_key(secret), found["answer"], name)
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


def _secret(request: Request[Any, Any, Any], key: str) -> bytes:
    token = request.scope[PRESENTED].token  # type: ignore[typeddict-item]
    organization = request.path_params.get(ORGANIZATION, "")
    return hashlib.sha256(f"{token}\0{organization}\0{key}".encode()).digest()


def _key(secret: bytes) -> bytes:
    return crypto.derive(secret, "insula/idempotent-answer")
