"""Sign-up, sign-in and one's own account over HTTP."""

from datetime import timedelta
from typing import Any, Final

import msgspec
from litestar import Controller, Request, Response, get, patch, post, put
from litestar.datastructures import Cookie, State
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody
from structlog.contextvars import bind_contextvars

from insula.core import clock
from insula.core.db import Transaction
from insula.core.errors import Unauthenticated
from insula.core.etags import ETags
from insula.core.http.authentication import COOKIE, presented, refuse_forgery
from insula.core.http.entrance import facts_of
from insula.core.http.openapi import SESSION
from insula.core.http.rate_limit import counted_address
from insula.core.http.reply import Reply
from insula.core.listing import Page, PageRequest
from insula.core.passwords import PasswordRefused
from insula.core.permissions import Principal
from insula.features.identity.doors import IdentityDoors
from insula.features.identity.judging import judge_password
from insula.features.identity.repository import ME, SESSIONS, sessions_page
from insula.features.identity.schemas import (
    CurrentPasswordWrong,
    LetterRequest,
    LetterRequested,
    LinkInvalid,
    MeRead,
    MeUpdate,
    PasswordChange,
    Reset,
    SessionId,
    SessionRead,
    SessionsRevoke,
    SessionsRevoked,
    SessionStarted,
    SignIn,
    SignInFailed,
    SignUp,
    Transport,
    Verification,
)
from insula.features.identity.service import MeService, PasswordService, SignInService, SignUpService
from insula.features.identity.sessions import SessionTerms
from insula.features.identity.throttle import Throttle

_STRANGER: Final = "nobody is signed in yet"
_SELF: Final = "checks the session itself: no transaction may be open while a password is hashed"
_ANYHOW: Final = "whoever shows a session may end it, live or not"
_OWN: Final = "everybody may look after their own account"


class Caller:
    """Who knocks: the request as far as sign-in looks at it."""

    def __init__(self, request: Request[Any, Any, Any], state: State) -> None:
        self._scope = request.scope
        self._origin: str = state.settings.base_url.rstrip("/")
        client = request.scope["state"]["client_address"]
        self.address = counted_address(client)
        bind_contextvars(client=client)

    def session(self) -> str:
        """The token of the session that is shown. Raises Unauthenticated, and Forbidden for a forged request."""
        return presented(self._scope, self._origin).token

    def replaced(self, transport: Transport) -> str | None:
        """The token in the cookie that a new session would overwrite. Raises Forbidden for a forged request."""
        if transport == "bearer":
            return None
        refuse_forgery(self._scope, self._origin)
        try:
            shown = presented(self._scope, self._origin)
        except Unauthenticated:
            return None
        return shown.token if shown.by_cookie else None


def provide_caller(request: Request[Any, Any, Any], state: State) -> Caller:
    return Caller(request, state)


def provide_throttle(state: State) -> Throttle:
    return Throttle(state.limiter, state.settings.rate_sign_in_per_minute, state.keyring)


def provide_doors(request: Request[Any, Any, Any], state: State) -> IdentityDoors:
    settings = state.settings
    terms = SessionTerms(
        idle=timedelta(hours=settings.session_idle_hours),
        lifetime=timedelta(hours=settings.session_max_hours),
        kept=settings.sessions_per_user,
    )
    return IdentityDoors(state.databases.identity, state.keyring, terms, facts_of(request.scope))


def provide_sign_up(doors: NamedDependency[IdentityDoors], state: State) -> SignUpService:
    return SignUpService(doors, state.passwords)


def provide_sign_in(doors: NamedDependency[IdentityDoors], state: State) -> SignInService:
    return SignInService(doors, state.passwords)


def provide_passwords(doors: NamedDependency[IdentityDoors], state: State) -> PasswordService:
    return PasswordService(doors, state.passwords)


def provide_me(db: NamedDependency[Transaction], principal: NamedDependency[Principal]) -> MeService:
    return MeService(db, principal)


class AuthController(Controller):
    """Becoming and being signed in. Answers do not tell who has an account."""

    path = "/v1/auth"
    tags = ["Sign-in"]  # noqa: RUF012  # Litestar's declaration
    dependencies = {  # noqa: RUF012
        "caller": Provide(provide_caller, sync_to_thread=False),
        "throttle": Provide(provide_throttle, sync_to_thread=False),
        "doors": Provide(provide_doors, sync_to_thread=False),
        "sign_ups": Provide(provide_sign_up, sync_to_thread=False),
        "sign_ins": Provide(provide_sign_in, sync_to_thread=False),
        "passwords": Provide(provide_passwords, sync_to_thread=False),
    }

    @post("/sign-up", status_code=202, public=_STRANGER, refusals=[PasswordRefused], also_wrong=judge_password)
    async def sign_up(
        self,
        caller: NamedDependency[Caller],
        throttle: NamedDependency[Throttle],
        sign_ups: NamedDependency[SignUpService],
        data: JSONBody[SignUp],
    ) -> LetterRequested:
        """Ask for an account; the letter that follows says how to go on."""
        await throttle.letter(caller.address, data.email, "verification")
        await sign_ups.sign_up(data)
        return LetterRequested.told()

    @post("/verification-mail", status_code=202, public=_STRANGER)
    async def resend_verification(
        self,
        caller: NamedDependency[Caller],
        throttle: NamedDependency[Throttle],
        sign_ups: NamedDependency[SignUpService],
        data: JSONBody[LetterRequest],
    ) -> LetterRequested:
        """Ask for the verification letter again."""
        await throttle.letter(caller.address, data.email, "verification")
        await sign_ups.resend_verification(data.email)
        return LetterRequested.told()

    @post("/verification", status_code=200, public=_STRANGER, sets_cookie=True, refusals=[LinkInvalid, SignInFailed])
    async def verify_sign_up(
        self,
        caller: NamedDependency[Caller],
        throttle: NamedDependency[Throttle],
        sign_ups: NamedDependency[SignUpService],
        data: JSONBody[Verification],
    ) -> Response[SessionStarted]:
        """Finish a sign-up with the mailed token and the password chosen then, and be signed in."""
        replaced = caller.replaced(data.transport)
        await throttle.attempt(caller.address, data.token)
        return _signed_in(await sign_ups.verify(data, replaced), data.transport)

    @post("/sign-in", status_code=200, public=_STRANGER, sets_cookie=True, refusals=[SignInFailed])
    async def sign_in(
        self,
        caller: NamedDependency[Caller],
        throttle: NamedDependency[Throttle],
        sign_ins: NamedDependency[SignInService],
        data: JSONBody[SignIn],
    ) -> Response[SessionStarted]:
        """Sign in with e-mail address and password."""
        replaced = caller.replaced(data.transport)
        await throttle.attempt(caller.address, data.email)
        return _signed_in(await sign_ins.sign_in(data, replaced), data.transport)

    @post("/sign-out", status_code=204, public=_ANYHOW, security=SESSION, sets_cookie=True)
    async def sign_out(
        self, caller: NamedDependency[Caller], sign_ins: NamedDependency[SignInService]
    ) -> Response[None]:
        """End the session that is presented; one that is over already is no error."""
        await sign_ins.sign_out(caller.session())
        return Reply(None, status_code=204, cookies=[_cookie("", max_age=0)])

    @post("/reset-mail", status_code=202, public=_STRANGER)
    async def ask_reset(
        self,
        caller: NamedDependency[Caller],
        throttle: NamedDependency[Throttle],
        passwords: NamedDependency[PasswordService],
        data: JSONBody[LetterRequest],
    ) -> LetterRequested:
        """Ask for a letter with a link that sets a new password."""
        await throttle.letter(caller.address, data.email, "reset")
        await passwords.ask_reset(data.email)
        return LetterRequested.told()

    @post("/reset", status_code=204, public=_STRANGER, refusals=[LinkInvalid, PasswordRefused])
    async def reset_password(
        self,
        caller: NamedDependency[Caller],
        throttle: NamedDependency[Throttle],
        passwords: NamedDependency[PasswordService],
        data: JSONBody[Reset],
    ) -> None:
        """Set a new password with the mailed token; every session ends.

        It may be the one in use: to refuse that would tell whoever found the link what the password is.
        """
        await throttle.attempt(caller.address, data.token)
        await passwords.reset(data)


class MeController(Controller):
    """Your account, password and sessions, across all organizations."""

    path = "/v1/me"
    tags = ["Me"]  # noqa: RUF012  # Litestar's declaration
    dependencies = AuthController.dependencies | {"me": Provide(provide_me, sync_to_thread=False)}

    @get("/", authenticated_only=_OWN)
    async def get_me(self, db: NamedDependency[Transaction], principal: NamedDependency[Principal]) -> MeRead:
        """Get your account."""
        me = await ME.one_or_none(db, id=principal.user_id)
        if me is None:
            raise Unauthenticated
        return me

    @patch("/", authenticated_only=_OWN)
    async def update_me(
        self, me: NamedDependency[MeService], version: NamedDependency[ETags | None], data: JSONBody[MeUpdate]
    ) -> MeRead:
        """Change your account."""
        return MeRead.of(await me.change(data, version))

    @get("/sessions", authenticated_only=_OWN, listing=SESSIONS)
    async def list_sessions(
        self,
        db: NamedDependency[Transaction],
        principal: NamedDependency[Principal],
        page: NamedDependency[PageRequest],
    ) -> Page[SessionRead]:
        """List where you are signed in."""
        return await sessions_page(db, page, current=principal.credential_id)

    @post("/sessions/{session_id:str}/revocation", status_code=204, authenticated_only=_OWN)
    async def revoke_session(self, me: NamedDependency[MeService], session_id: FromPath[SessionId]) -> None:
        """Sign out elsewhere."""
        await me.revoke_session(session_id)

    @post("/sessions/revocation", status_code=200, authenticated_only=_OWN)
    async def revoke_sessions(self, me: NamedDependency[MeService], data: JSONBody[SessionsRevoke]) -> SessionsRevoked:
        """Sign out everywhere else, or everywhere."""
        return SessionsRevoked(await me.revoke_sessions(include_current=data.include_current))

    @put("/password", status_code=204, public=_SELF, security=SESSION, refusals=[CurrentPasswordWrong, PasswordRefused])
    async def change_password(
        self,
        caller: NamedDependency[Caller],
        throttle: NamedDependency[Throttle],
        passwords: NamedDependency[PasswordService],
        data: JSONBody[PasswordChange],
    ) -> None:
        """Change your password; every other session ends.

        The new one must be another than the current one, which you show: with the same, nothing would change.
        """
        token = caller.session()
        await throttle.attempt(caller.address, token)
        await passwords.change(token, data)


def _signed_in(started: SessionStarted, transport: Transport) -> Response[SessionStarted]:
    if transport == "bearer":
        return Reply(started, status_code=200)
    told, cookie = in_cookie(started)
    return Reply(told, status_code=200, cookies=[cookie])


def in_cookie(started: SessionStarted) -> tuple[SessionStarted, Cookie]:
    """What to answer when a cookie carries the session: what is told without the secret, and the cookie with it."""
    assert started.token is not None
    seconds = int((started.expires_at - clock.now()).total_seconds())
    return msgspec.structs.replace(started, token=None), _cookie(started.token, max_age=seconds)


def _cookie(token: str, max_age: int) -> Cookie:
    """The ``__Host-`` prefix makes browsers insist on the rest: our host only, HTTPS only, every path."""
    return Cookie(key=COOKIE, value=token, path="/", max_age=max_age, secure=True, httponly=True, samesite="lax")


CONTROLLERS = (AuthController, MeController)
