"""What the invitations API takes and gives."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from insula.core.errors import Conflict
from insula.core.events import Event, OfAccount
from insula.core.ids import describe
from insula.core.passwords import Password
from insula.core.permissions import Role
from insula.core.schemas import Email, OrganizationName, PersonName, Read, Task, Timestamp, Write
from insula.features.identity.schemas import SessionStarted, Transport
from insula.features.organizations.schemas import GivenRole, MemberId, OrganizationId

InvitationId = Annotated[str, describe("inv", "an invitation")]
InvitationSecret = Annotated[
    str,
    Meta(
        max_length=200, description="The token of an invitation's link, from its fragment.", examples=["ins_inv_01j..."]
    ),
]
InvitationStatus = Annotated[
    Literal["pending", "accepted", "declined", "revoked", "expired"], Meta(examples=["pending"])
]
Inviter = Annotated[
    Annotated[str, describe("mem", "a member")] | None,
    Meta(description="The member who answers for it; null once they are gone."),
]
Acceptable = Annotated[
    bool,
    Meta(
        description="Whether it lets its holder in now: it is pending, and who answers for it may still grant the role."
        " Where only that is missing, resend it, and you answer for it."
    ),
]


class InvitationCreate(Write, frozen=True, kw_only=True):
    """Somebody to invite."""

    email: Email
    role: GivenRole


class InvitationBatch(Write, frozen=True, kw_only=True):
    """People to invite, all or none."""

    invitations: Annotated[list[InvitationCreate], Meta(min_length=1, max_length=100)]


class InvitationRead(Read, frozen=True):
    """An invitation, without the token, which its letter says. It expires by itself, and with its inviter's role; its
    ETag is another one then, though its version is not.
    """

    MOVES = ("status", "acceptable")

    id: InvitationId
    email: Email
    role: Role
    status: InvitationStatus
    acceptable: Acceptable
    invited_by: Inviter
    sendings: Annotated[int, Meta(description="Letters sent.")]
    expires_at: Timestamp
    created_at: Timestamp
    updated_at: Timestamp
    version: int


class InvitationsRead(Read, frozen=True):
    """The invitations of a batch, in its order."""

    data: list[InvitationRead]


class InvitationToken(Write, frozen=True, kw_only=True):
    """The proof of holding an invitation."""

    token: InvitationSecret


class InvitationPreview(Read, frozen=True):
    """What the holder of a mailed token is offered.

    ``has_account`` says whether to sign in or to sign up. Only the token's holder learns it, about the address of the
    letter that they have just shown to read.
    """

    organization_name: OrganizationName
    inviter_name: PersonName
    role: Role
    email: Email
    expires_at: Timestamp
    has_account: bool


class InvitationSignUp(Write, frozen=True, kw_only=True):
    """A new person who accepts an invitation; the address is the invitation's, and verified by its token."""

    token: InvitationSecret
    name: PersonName
    password: Password
    transport: Transport = "bearer"


class Joined(Read, frozen=True):
    """Where the holder is a member now."""

    organization_id: OrganizationId
    member_id: MemberId
    role: Role


class JoinedAndSignedIn(Read, frozen=True):
    """A new person's membership and first session."""

    membership: Joined
    session: SessionStarted


class MyInvitation(Read, frozen=True):
    """An invitation to one's own address that can be accepted."""

    id: InvitationId
    organization_id: OrganizationId
    organization_name: OrganizationName
    inviter_name: PersonName
    role: Role
    expires_at: Timestamp
    created_at: Timestamp


class InvitationOpen(Conflict):
    """One letter at a time; it can be sent again."""

    code, title = "invitation_open", "An invitation to this address is open; resend or revoke it"


class AlreadyMember(Conflict):
    """Nobody is a member twice."""

    code, title = "already_member", "This person is a member already"


class InvitationClosed(Conflict):
    """It can be neither accepted nor changed any more."""

    code, title = "invitation_closed", "The invitation is not open any more"


class InvitationUsed(InvitationClosed):
    """Once is enough."""

    code, title = "invitation_accepted", "The invitation has been accepted already"


class InvitationOver(InvitationClosed):
    """The organization can send it again."""

    code, title = "invitation_expired", "The invitation's time is over; ask for it to be sent again"


class InvitationsRefused(Conflict):
    """Some rows of a batch cannot be carried out, so none was; ``errors`` names each."""

    code, title = "invitations_refused", "Some of these people cannot be invited; nobody was"


class SignInFirst(Conflict):
    """An account is not taken over by an invitation, it accepts one."""

    code, title = "sign_in_first", "This address has an account: sign in to accept the invitation"


class WrongAccount(Conflict):
    """An invitation is for one address; it is never attached to whoever happens to be signed in."""

    code, title = "wrong_account", "The invitation is for another address than that of your account"


class AboutInvitation(Event, frozen=True, kw_only=True):
    """Something that happened to an invitation, with whom it is for."""

    TARGET = "invitation"
    PERSONAL = frozenset({"email"})

    email: str


class InvitationCreated(AboutInvitation, frozen=True, kw_only=True):
    """Somebody was invited."""

    TYPE = "invitation.created"

    role: str
    invited_by: str | None
    expires_at: Timestamp


class InvitationSending(Struct, frozen=True, forbid_unknown_fields=True):
    """What every letter of an invitation decides anew."""

    invited_by: str | None
    expires_at: Timestamp
    sendings: int


class InvitationResent(AboutInvitation, frozen=True, kw_only=True):
    """An invitation got another letter; the link of the earlier one is dead."""

    TYPE = "invitation.resent"

    before: InvitationSending
    after: InvitationSending


class InvitationRevoked(AboutInvitation, frozen=True, kw_only=True):
    """An invitation was withdrawn."""

    TYPE = "invitation.revoked"


class InvitationAccepted(AboutInvitation, frozen=True, kw_only=True):
    """The holder became a member."""

    TYPE = "invitation.accepted"

    member_id: str


class InvitationDeclined(AboutInvitation, frozen=True, kw_only=True):
    """The holder said no. Who that is, and from where, the organization is not told."""

    TYPE = "invitation.declined"


class MyInvitationAccepted(OfAccount, frozen=True, kw_only=True):
    """A person accepted an invitation, signed in or by signing up."""

    TYPE = "account.invitation_accepted"
    TARGET = "invitation"

    organization_id: str


class MyInvitationDeclined(OfAccount, frozen=True, kw_only=True):
    """A person declined an invitation in their own list."""

    TYPE = "account.invitation_declined"
    TARGET = "invitation"


class InvitationExpired(AboutInvitation, frozen=True, kw_only=True):
    """An invitation whose time was over made room for a new one."""

    TYPE = "invitation.expired"

    expires_at: Timestamp


EVENTS = (
    InvitationCreated,
    InvitationResent,
    InvitationRevoked,
    InvitationAccepted,
    InvitationDeclined,
    InvitationExpired,
    MyInvitationAccepted,
    MyInvitationDeclined,
)


class SendInvitation(Task, frozen=True, kw_only=True):
    """Mail the letter with the token of one sending; a later sending makes it pointless."""

    NAME = "invitations.send_invitation"
    QUEUE = "bulk"  # hundreds at once, none of which anybody waits for at a screen, as for a letter of sign-in

    invitation_id: str
    sending: int
