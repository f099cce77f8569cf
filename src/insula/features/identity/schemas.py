"""What sign-up, sign-in and a person's own account take and give."""

from typing import Annotated, Final, Literal, Self

from msgspec import UNSET, Meta, UnsetType

from insula.core.errors import InvalidRequest, Unauthenticated, Unprocessable
from insula.core.events import Changed, OfAccount
from insula.core.ids import describe
from insula.core.passwords import Password
from insula.core.schemas import Change, Email, PersonName, Read, Task, Timestamp, Write

_ON_ITS_WAY: Final = "If there is anything to send to this address, it is on its way."

UserId = Annotated[str, describe("usr", "a user")]
SessionId = Annotated[str, describe("crd", "a session")]
MailedToken = Annotated[
    str,
    Meta(max_length=200, description="The token of a mailed link, from its fragment.", examples=["ins_ver_01j..."]),
]
ResetToken = Annotated[
    str,
    Meta(max_length=200, description="The token of a reset's link, from its fragment.", examples=["ins_rst_01j..."]),
]
Transport = Annotated[
    Literal["bearer", "cookie"],
    Meta(description="Where the session's secret goes: into the answer, or into a cookie that scripts cannot read."),
]


class SignUp(Write, frozen=True, kw_only=True):
    """A person who would like an account."""

    name: PersonName
    email: Email
    password: Password


class Verification(Write, frozen=True, kw_only=True):
    """The end of a sign-up: its mailed token, and the password chosen then."""

    token: MailedToken
    password: Password
    transport: Transport = "bearer"


class SignIn(Write, frozen=True, kw_only=True):
    """A person who has an account."""

    email: Email
    password: Password
    transport: Transport = "bearer"


class LetterRequest(Write, frozen=True, kw_only=True):
    """Where a letter should go."""

    email: Email


class LetterRequested(Read, frozen=True):
    """The same whatever is known of the address."""

    message: Annotated[str, Meta(description="For people.", examples=[_ON_ITS_WAY])]

    @classmethod
    def told(cls) -> Self:
        """The one that there is."""
        return cls(_ON_ITS_WAY)


class Reset(Write, frozen=True, kw_only=True):
    """A new password, by right of the mailed token."""

    token: ResetToken
    password: Password


class PasswordChange(Write, frozen=True, kw_only=True):
    """A new password, by right of the current one."""

    current_password: Password
    new_password: Annotated[Password, Meta(examples=["nine quiet ravens under one umbrella"])]


class MeUpdate(Change, frozen=True, kw_only=True):
    """The fields of one's own account to change."""

    name: PersonName | UnsetType = UNSET


class MeRead(Read, frozen=True):
    """One's own account. What an organization shows of a person is the profile of their membership."""

    id: UserId
    name: PersonName
    email: Email
    created_at: Timestamp
    updated_at: Timestamp
    version: int


SessionEnd = Annotated[Timestamp, Meta(description="When it ends however much it is used.")]
SessionIdleEnd = Annotated[Timestamp, Meta(description="When it ends unless it is used before.")]


class SessionStarted(Read, frozen=True):
    """A new session. ``token`` is shown this once, and null when a cookie carries it."""

    token: Annotated[str, Meta(examples=["ins_ses_01j..."])] | None
    expires_at: SessionEnd
    idle_expires_at: SessionIdleEnd
    user: MeRead


class SessionRead(Read, frozen=True):
    """A device or program that is signed in."""

    id: SessionId
    user_agent: Annotated[str, Meta(examples=["Mozilla/5.0 (X11; Linux x86_64)"])] | None
    ip: Annotated[str, Meta(examples=["192.0.2.7"])] | None
    created_at: Timestamp
    last_used_at: Timestamp
    expires_at: SessionEnd
    idle_expires_at: SessionIdleEnd
    current: Annotated[bool, Meta(description="Whether it is the one that asks.")]


class SessionsRevoke(Write, frozen=True, kw_only=True):
    """Whether to sign out here as well."""

    include_current: bool = False


class SessionsRevoked(Read, frozen=True):
    """How many sessions ended."""

    revoked: int


class SignInFailed(Unauthenticated):
    """One answer to every failure: which it was would say who has an account."""

    code, title = "sign_in_failed", "The e-mail address or the password is wrong"


class CurrentPasswordWrong(Unprocessable):
    """A session alone, left open somewhere, is not enough to change the password."""

    pointer = "/current_password"
    code, title = "current_password_wrong", "This is not your password"


class LinkInvalid(InvalidRequest):
    """A mailed token that was used, replaced, altered, is over, or never was."""

    code, title = "link_invalid", "The link is not valid any more; ask for a new one"


class SessionWasStarted(OfAccount, frozen=True, kw_only=True):
    """A person signed in, or was signed in by proving their address."""

    TYPE = "session.started"
    TARGET = "session"


class SessionEnded(OfAccount, frozen=True, kw_only=True):
    """A session ended: its person signed out or in anew, had too many, or has another password now."""

    TYPE = "session.ended"
    TARGET = "session"

    reason: Annotated[
        Literal["signed_out", "replaced", "superseded", "password_changed"],
        Meta(
            description="`replaced`: the browser that showed it signed in anew. `superseded`: the oldest of too many."
        ),
    ]


class SessionRevoked(OfAccount, frozen=True, kw_only=True):
    """A person ended a session from another one of theirs, or all at once."""

    TYPE = "session.revoked"
    TARGET = "session"


class PasswordChanged(OfAccount, frozen=True, kw_only=True):
    """A person who knew the current password set another."""

    TYPE = "password.changed"
    TARGET = "user"


class PasswordWasReset(OfAccount, frozen=True, kw_only=True):
    """A password was set by right of a mailed token."""

    TYPE = "password.reset"
    TARGET = "user"


class AccountVerified(OfAccount, frozen=True, kw_only=True):
    """The address was shown to be the person's: with this an account begins."""

    TYPE = "account.verified"
    TARGET = "user"

    by: Literal["sign_up", "invitation", "reset"]


class AccountUpdated(Changed, OfAccount, frozen=True, kw_only=True):
    """A person changed their account."""

    TYPE = "account.updated"
    TARGET = "user"
    CHANGE = MeUpdate


EVENTS = (
    SessionWasStarted,
    SessionEnded,
    SessionRevoked,
    PasswordChanged,
    PasswordWasReset,
    AccountVerified,
    AccountUpdated,
)


class SendVerification(Task, frozen=True, kw_only=True):
    """Mail the link that ends a sign-up."""

    NAME = "identity.send_verification"

    credential_id: str


class SendSignUpAttempt(Task, frozen=True, kw_only=True):
    """Tell the owner of an account that somebody signed up with their address."""

    NAME = "identity.send_sign_up_attempt"


class SendReset(Task, frozen=True, kw_only=True):
    """Mail the link that sets a new password."""

    NAME = "identity.send_reset"

    credential_id: str


class SendPasswordChanged(Task, frozen=True, kw_only=True):
    """Tell a person that their password is another one now."""

    NAME = "identity.send_password_changed"

    changed_at: Timestamp
