"""What the development inbox answers over HTTP: its page, and the letters as JSON."""

import re
import secrets
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qsl

import h11
import jinja2
import msgspec

from insula.embedded.letters import Letters

_PAGE = jinja2.Template(Path(__file__).with_name("inbox.html.j2").read_text("utf-8"), autoescape=True)
_PAGE_POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; connect-src 'self'; "
    "frame-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A letter is a stranger's page: no scripts, no requests, no origin. Its links may open new tabs.
_LETTER_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = {
    "cache-control": "no-store",
    "connection": "close",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "content-type": "application/json",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_NUMBER = re.compile(r"[0-9]{1,15}")
_FILTERS = {"to", "subject"}


class Answer(msgspec.Struct, frozen=True):
    """What the visitor gets."""

    status: HTTPStatus
    body: bytes = b""
    headers: dict[str, str] = {}

    def events(self, *, head: bool) -> list[h11.Response | h11.Data | h11.EndOfMessage]:
        """Without the body where HEAD asked for it (RFC 9110, section 9.3.2)."""
        headers = {**_HEADERS, "content-length": str(len(self.body)), **self.headers}
        start = h11.Response(status_code=self.status, headers=list(headers.items()), reason=self.status.phrase)
        return [start, *([] if head else [h11.Data(data=self.body)]), h11.EndOfMessage()]


def answer(request: h11.Request, letters: Letters, port: int) -> Answer:
    """The routes: `/`, `/messages?to=&subject=`, `/messages/{id}`, `/messages/{id}/html`."""
    headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
    # A stranger's domain can be pointed at this machine (DNS rebinding), and its page would then be let in.
    if headers.get("host") not in {f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"}:
        return _refusal(HTTPStatus.MISDIRECTED_REQUEST)
    path, _, query = request.target.decode("latin-1").partition("?")
    method = "GET" if request.method == b"HEAD" else request.method.decode("latin-1")
    match method, path.split("/")[1:]:
        case "GET", [""]:
            return _page()
        case "GET", ["messages"]:
            return _list(letters, query, headers.get("if-none-match"))
        case "GET", ["messages", number, *view]:
            return _show(letters, number, view)
        case "DELETE", ["messages"]:
            letters.clear()
            return Answer(HTTPStatus.NO_CONTENT)
        case _:
            return _refusal(HTTPStatus.NOT_FOUND if method == "GET" else HTTPStatus.METHOD_NOT_ALLOWED)


def _page() -> Answer:
    nonce = secrets.token_urlsafe(16)
    return _html(_PAGE.render(nonce=nonce), _PAGE_POLICY.format(nonce), frame="DENY")


def _list(letters: Letters, query: str, known: str | None) -> Answer:
    filters = dict(parse_qsl(query, keep_blank_values=True))
    if not filters.keys() <= _FILTERS:
        return _refusal(HTTPStatus.BAD_REQUEST)
    revision = {"etag": f'"{letters.revision}"'}
    if known == revision["etag"]:
        return Answer(HTTPStatus.NOT_MODIFIED, headers=revision)
    return _json({"data": letters.find(**filters)}, revision)


def _show(letters: Letters, number: str, view: list[str]) -> Answer:
    letter = letters.get(int(number)) if _NUMBER.fullmatch(number) else None
    if letter is None or view not in ([], ["html"]):
        return _refusal(HTTPStatus.NOT_FOUND)
    return _html(letter.html, _LETTER_POLICY, frame="SAMEORIGIN") if view else _json(letter)


def _json(value: object, headers: dict[str, str] | None = None) -> Answer:
    return Answer(HTTPStatus.OK, msgspec.json.encode(value), headers or {})


def _html(body: str, policy: str, *, frame: str) -> Answer:
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": policy,
        "x-frame-options": frame,
    }
    return Answer(HTTPStatus.OK, body.encode(), headers)


def _refusal(status: HTTPStatus) -> Answer:
    return Answer(status, msgspec.json.encode({"detail": status.phrase}))
