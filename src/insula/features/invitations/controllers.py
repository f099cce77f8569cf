"""Invitations over HTTP: for those who invite, for those who are invited."""

from datetime import timedelta
from typing import Any, Final

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody

from insula.core.db import Transaction
from insula.core.errors import MembershipSuspended, NotFound
from insula.core.etags import ETags
from insula.core.http.entrance import facts_of
from insula.core.http.reply import Reply
from insula.core.listing import Page, PageRequest
from insula.core.passwords import PasswordRefused
from insula.core.quotas import LimitReached
from insula.core.schemas import Search
from insula.features.identity.controllers import Caller, in_cookie, provide_caller, provide_throttle
from insula.features.identity.judging import judge_password
from insula.features.identity.schemas import LinkInvalid
from insula.features.identity.sessions import SessionTerms
from insula.features.identity.throttle import Throttle
from insula.features.invitations.acceptance import HolderService, MyInvitationService
from insula.features.invitations.doors import HolderDoors
from insula.features.invitations.letters import Letters
from insula.features.invitations.permissions import READ, WRITE
from insula.features.invitations.repository import INVITATION, INVITATIONS, MY_INVITATIONS, these
from insula.features.invitations.schemas import (
    AlreadyMember,
    InvitationBatch,
    InvitationClosed,
    InvitationCreate,
    InvitationId,
    InvitationOpen,
    InvitationOver,
    InvitationPreview,
    InvitationRead,
    InvitationSignUp,
    InvitationsRead,
    InvitationsRefused,
    InvitationStatus,
    InvitationToken,
    InvitationUsed,
    Joined,
    JoinedAndSignedIn,
    MyInvitation,
    SignInFirst,
    WrongAccount,
)
from insula.features.invitations.service import InvitationService
from insula.features.organizations.schemas import EmailUnverified, RoleAboveYours

_HOLDER: Final = "the mailed token is the proof"
_OWN: Final = "everybody may see, accept and decline what is for their own address"
_MEMBER: Final = "/v1/organizations/{organization_id}/members/me"
"""Under their id not every role may see members, themselves included."""
_OVER: Final = (InvitationClosed, InvitationOver, InvitationUsed)
_NOT_ADMITTED: Final = (AlreadyMember, LimitReached, MembershipSuspended, *_OVER)


# Not "invitations": Litestar takes an error in a body field for that of a dependency with the same name.
def provide_inviting(db: NamedDependency[Transaction], state: State) -> InvitationService:
    settings = state.settings
    letters = Letters(state.limiter, state.keyring, settings.limit_invitations_per_day)
    return InvitationService(db, letters, timedelta(days=settings.invitation_days))


def provide_holder(request: Request[Any, Any, Any], state: State) -> HolderService:
    settings = state.settings
    terms = SessionTerms(
        idle=timedelta(hours=settings.session_idle_hours),
        lifetime=timedelta(hours=settings.session_max_hours),
        kept=settings.sessions_per_user,
    )
    doors = HolderDoors(state.databases.identity, state.keyring, terms, facts_of(request.scope))
    return HolderService(doors, state.passwords, settings.limit_members)


def provide_mine(db: NamedDependency[Transaction], state: State) -> MyInvitationService:
    return MyInvitationService(db, state.keyring, state.settings.limit_members)


class InvitationController(Controller):
    """The invitations of an organization."""

    path = "/v1/organizations/{organization_id:str}/invitations"
    tags = ["Invitations"]  # noqa: RUF012  # Litestar's declaration
    dependencies = {"inviting": Provide(provide_inviting, sync_to_thread=False)}  # noqa: RUF012

    @get("/", permission=READ, listing=INVITATIONS, stale_ok=True)
    async def list_invitations(
        self,
        db: NamedDependency[Transaction],
        page: NamedDependency[PageRequest],
        status: FromQuery[InvitationStatus | None] = None,
        email_prefix: FromQuery[Search | None] = None,
    ) -> Page[InvitationRead]:
        """List invitations."""
        return await INVITATIONS.page(db, page, status=status, email_prefix=email_prefix)

    @get("/{invitation_id:str}", permission=READ, stale_ok=True)
    async def get_invitation(
        self, db: NamedDependency[Transaction], invitation_id: FromPath[InvitationId]
    ) -> InvitationRead:
        """Get an invitation."""
        return await _found(db, invitation_id)

    @post("/", permission=WRITE, refusals=[AlreadyMember, InvitationOpen, LimitReached, RoleAboveYours])
    async def create_invitation(
        self,
        db: NamedDependency[Transaction],
        inviting: NamedDependency[InvitationService],
        data: JSONBody[InvitationCreate],
    ) -> InvitationRead:
        """Invite somebody by e-mail."""
        return await _found(db, await inviting.invite(data))

    @post(
        "/batch",
        permission=WRITE,
        creates="invitations, each at the address of its id",
        refusals=[InvitationOpen, InvitationsRefused, LimitReached, RoleAboveYours],
    )
    async def create_invitations(
        self,
        db: NamedDependency[Transaction],
        inviting: NamedDependency[InvitationService],
        data: JSONBody[InvitationBatch],
    ) -> InvitationsRead:
        """Invite up to 100 people, all or nobody."""
        return InvitationsRead(await these(db, await inviting.invite_all(data.invitations)))

    @post(
        "/{invitation_id:str}/resending",
        permission=WRITE,
        status_code=200,
        refusals=[AlreadyMember, InvitationClosed, RoleAboveYours],
    )
    async def resend_invitation(
        self,
        db: NamedDependency[Transaction],
        inviting: NamedDependency[InvitationService],
        invitation_id: FromPath[InvitationId],
        version_if_sent: NamedDependency[ETags | None],
    ) -> InvitationRead:
        """Send another letter, also after the time is over; the link of the earlier one is dead."""
        await inviting.resend(invitation_id, version_if_sent)
        return await _found(db, invitation_id)

    @post(
        "/{invitation_id:str}/revocation",
        permission=WRITE,
        status_code=200,
        refusals=[InvitationClosed, RoleAboveYours],
    )
    async def revoke_invitation(
        self,
        db: NamedDependency[Transaction],
        inviting: NamedDependency[InvitationService],
        invitation_id: FromPath[InvitationId],
        version_if_sent: NamedDependency[ETags | None],
    ) -> InvitationRead:
        """Withdraw an invitation."""
        await inviting.revoke(invitation_id, version_if_sent)
        return await _found(db, invitation_id)


class HolderController(Controller):
    """For whoever holds the letter. Only POST: scanners of mail follow links, and must not accept anything."""

    path = "/v1/auth/invitations"
    tags = ["Invitations"]  # noqa: RUF012  # Litestar's declaration
    dependencies = {  # noqa: RUF012
        "caller": Provide(provide_caller, sync_to_thread=False),
        "throttle": Provide(provide_throttle, sync_to_thread=False),
        "holder": Provide(provide_holder, sync_to_thread=False),
    }

    @post("/preview", status_code=200, public=_HOLDER, refusals=[LinkInvalid, *_OVER])
    async def preview_invitation(
        self, holder: NamedDependency[HolderService], data: JSONBody[InvitationToken]
    ) -> InvitationPreview:
        """See what an invitation offers, and whether to sign in or to sign up; nothing is accepted by it."""
        return await holder.preview(data.token)

    @post(
        "/acceptance",
        public=_HOLDER,
        creates="/v1/organizations/{membership.organization_id}/members/me",
        sets_cookie=True,
        refusals=[LimitReached, LinkInvalid, PasswordRefused, SignInFirst, *_OVER],
        also_wrong=judge_password,
    )
    async def join_by_invitation(
        self,
        caller: NamedDependency[Caller],
        throttle: NamedDependency[Throttle],
        holder: NamedDependency[HolderService],
        data: JSONBody[InvitationSignUp],
    ) -> Response[JoinedAndSignedIn]:
        """Sign up by an invitation and be signed in: the token proves the address."""
        replaced = caller.replaced(data.transport)
        await throttle.attempt(caller.address, data.token)
        joined = await holder.join(data, replaced)
        return Reply(joined, status_code=201) if data.transport == "bearer" else _with_cookie(joined)

    @post("/refusal", status_code=204, public=_HOLDER, refusals=[LinkInvalid, *_OVER])
    async def decline_invitation(self, holder: NamedDependency[HolderService], data: JSONBody[InvitationToken]) -> None:
        """Decline an invitation."""
        await holder.decline(data.token)


class MyInvitationController(Controller):
    """Invitations to one's own address."""

    path = "/v1/me/invitations"
    tags = ["Me"]  # noqa: RUF012  # Litestar's declaration
    dependencies = {"mine": Provide(provide_mine, sync_to_thread=False)}  # noqa: RUF012

    @get("/", authenticated_only=_OWN, listing=MY_INVITATIONS)
    async def list_my_invitations(
        self, db: NamedDependency[Transaction], page: NamedDependency[PageRequest]
    ) -> Page[MyInvitation]:
        """List what one can accept."""
        return await MY_INVITATIONS.page(db, page)

    @post(
        "/acceptance",
        authenticated_only=_OWN,
        creates=_MEMBER,
        refusals=[EmailUnverified, LinkInvalid, WrongAccount, *_NOT_ADMITTED],
    )
    async def accept_invitation(
        self, mine: NamedDependency[MyInvitationService], data: JSONBody[InvitationToken]
    ) -> Joined:
        """Accept an invitation with its mailed token; it must be for the address of one's account."""
        return await mine.accept(data.token)

    @post("/{invitation_id:str}/acceptance", authenticated_only=_OWN, creates=_MEMBER, refusals=_NOT_ADMITTED)
    async def accept_my_invitation(
        self, mine: NamedDependency[MyInvitationService], invitation_id: FromPath[InvitationId]
    ) -> Joined:
        """Accept an invitation to one's own address."""
        return await mine.accept_mine(invitation_id)

    @post("/{invitation_id:str}/refusal", status_code=204, authenticated_only=_OWN, refusals=_OVER)
    async def decline_my_invitation(
        self, mine: NamedDependency[MyInvitationService], invitation_id: FromPath[InvitationId]
    ) -> None:
        """Decline an invitation to one's own address."""
        await mine.decline_mine(invitation_id)


async def _found(db: Transaction, invitation_id: str) -> InvitationRead:
    invitation = await INVITATION.one_or_none(db, id=invitation_id)
    if invitation is None:
        raise NotFound
    return invitation


def _with_cookie(joined: JoinedAndSignedIn) -> Response[JoinedAndSignedIn]:
    told, cookie = in_cookie(joined.session)
    return Reply(msgspec.structs.replace(joined, session=told), status_code=201, cookies=[cookie])


CONTROLLERS = (InvitationController, HolderController, MyInvitationController)
