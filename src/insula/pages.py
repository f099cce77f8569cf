"""What mailed links open where no front end of yours answers: pages that say which call to make."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import jinja2
import msgspec
from litestar import Controller, MediaType, Request, get
from litestar.datastructures import State

from insula.core.http.reply import Reply

_PUBLIC: Final = "mailed links lead here, whoever follows them"
_STYLE: Final = (
    "body{max-width:42rem;margin:3rem auto;padding:0 1rem;font:1rem/1.6 system-ui,sans-serif;color-scheme:light dark}"
    "pre{padding:1rem;border:1px solid #8888;border-radius:.5rem;white-space:pre-wrap;overflow-wrap:anywhere}"
)
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TEMPLATE: Final = jinja2.Template(
    Path(__file__).with_name("pages.html.j2").read_text("utf-8"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
)
_TOKEN: Final = "what follows #token= in the address"  # noqa: S105  # it says where the token is
_PASSWORD: Final = "a password of your choice"  # noqa: S105  # likewise
_CHOSEN: Final = "the password chosen at sign-up"


class Call(msgspec.Struct, frozen=True):
    """A request that does what the page would do."""

    why: str
    path: str
    body: dict[str, str]
    session: bool = False
    """Whether it wants the token of a sign-in as well."""

    @property
    def json(self) -> str:
        return msgspec.json.encode(self.body).decode()


class Landing(msgspec.Struct, frozen=True):
    """Where a letter leads."""

    title: str
    calls: tuple[Call, ...]


_SIGN_IN: Final = Call(
    "Sign in; the answer holds the session's token.",
    "/v1/auth/sign-in",
    {"email": "you@example.com", "password": "your password"},
)

LANDINGS: Final = {
    "/verify-email": Landing(
        "Confirm your address",
        (Call("Finish the sign-up.", "/v1/auth/verification", {"token": _TOKEN, "password": _CHOSEN}),),
    ),
    "/sign-in": Landing("Sign in", (_SIGN_IN,)),
    "/forgot-password": Landing(
        "Choose a new password",
        (Call("Ask for the letter.", "/v1/auth/reset-mail", {"email": "you@example.com"}),),
    ),
    "/reset-password": Landing(
        "Choose a new password",
        (Call("Set it.", "/v1/auth/reset", {"token": _TOKEN, "password": _PASSWORD}),),
    ),
    "/accept-invitation": Landing(
        "Accept an invitation",
        (
            Call("See what it offers, and to whom.", "/v1/auth/invitations/preview", {"token": _TOKEN}),
            Call(
                "Without an account: make one and come in. With one, the answer is 409 sign_in_first.",
                "/v1/auth/invitations/acceptance",
                {"token": _TOKEN, "name": "your name", "password": _PASSWORD},
            ),
            _SIGN_IN,
            Call("Signed in: come in.", "/v1/me/invitations/acceptance", {"token": _TOKEN}, session=True),
            Call("Or decline it, with an account or without.", "/v1/auth/invitations/refusal", {"token": _TOKEN}),
        ),
    ),
}


class Entrance(msgspec.Struct, frozen=True):
    """What there is to read about this API."""

    documentation: str = "/docs"
    openapi: str = "/openapi.json"


class PageController(Controller):
    """The same for everybody: none of them looks at a token, which browsers keep to themselves after the ``#``."""

    path = "/"
    include_in_schema = False

    @get("/", public=_PUBLIC)
    async def show_entrance(self, request: Request[Any, Any, Any]) -> Reply:
        """The documentation for people, its address for programs."""
        headers = {"vary": "accept"}
        if "text/html" in request.headers.get("accept", ""):
            to_docs = {**headers, "location": Entrance().documentation}
            return Reply(b"", status_code=303, headers=to_docs, media_type=MediaType.TEXT)
        return Reply(Entrance(), headers=headers)

    @get(list(LANDINGS), public=_PUBLIC)
    async def show_landing(self, request: Request[Any, Any, Any], state: State) -> Reply:
        """Which call to make instead."""
        page = _TEMPLATE.render(
            landing=LANDINGS[request.scope["path_template"]],
            style=_STYLE,
            base_url=state.settings.base_url.rstrip("/"),
            product=state.settings.mail_from_name,
        )
        return Reply(page, media_type="text/html", headers={"content-security-policy": _POLICY})
