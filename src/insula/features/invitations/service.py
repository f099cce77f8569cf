"""What members do with invitations."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from insula.core import clock
from insula.core.db import Transaction
from insula.core.errors import DomainError, FieldError, Wrong
from insula.core.etags import ETags
from insula.core.events import record, record_denied
from insula.core.jobs import enqueue
from insula.core.listing import normalize
from insula.core.permissions import Principal, may_grant
from insula.core.quotas import Quota
from insula.features.invitations.letters import Letters
from insula.features.invitations.models import Invitation
from insula.features.invitations.permissions import WRITE
from insula.features.invitations.repository import InvitationRepository, arm, disarm
from insula.features.invitations.schemas import (
    AlreadyMember,
    InvitationClosed,
    InvitationCreate,
    InvitationCreated,
    InvitationExpired,
    InvitationOpen,
    InvitationResent,
    InvitationRevoked,
    InvitationSending,
    InvitationsRefused,
    SendInvitation,
)
from insula.features.organizations.models import Membership
from insula.features.organizations.schemas import RoleAboveYours

MEMBERS: Final = Quota("members", sa.select(Membership.id))


class InvitationService:
    """Invites people to one organization, sends letters again, withdraws them."""

    def __init__(self, db: Transaction, letters: Letters, lifetime: timedelta) -> None:
        self._db, self._letters, self._lifetime = db, letters, lifetime
        self._invitations = InvitationRepository(db)

    async def invite(self, data: InvitationCreate) -> str:
        """Invite one person; returns the invitation's id.

        Raises RoleAboveYours, AlreadyMember, InvitationOpen, LimitReached and RateLimited.
        """
        self._require_grantable(data.role, RoleAboveYours.at("/role"))
        address = normalize(data.email)
        if obstacle := (await self._obstacles([address])).get(address):
            raise obstacle
        (invitation_id,) = await self._send_all([data])
        return invitation_id

    async def invite_all(self, people: Sequence[InvitationCreate]) -> list[str]:
        """Invite many people or, when one of them cannot be, nobody; returns the invitations' ids.

        Raises InvitationsRefused with an error for every row that is wrong, and as ``invite``.
        """
        refused = [
            RoleAboveYours.at(f"/invitations/{row}/role")
            for row, person in enumerate(people)
            if not may_grant(self._principal.role, person.role)
        ]
        if refused:
            record_denied(self._db, WRITE.name, "role_above_theirs")
            raise RoleAboveYours(errors=refused)
        addresses = [normalize(person.email) for person in people]
        obstacles: dict[str, DomainError] = dict(await self._obstacles(addresses))
        refused = [
            complaint
            for row, address in enumerate(addresses)
            if (complaint := _complaint(row, address, addresses, obstacles))
        ]
        if refused:
            raise InvitationsRefused(errors=refused)
        return await self._send_all(people)

    async def resend(self, invitation_id: str, version: ETags | None) -> None:
        """Send another letter; the earlier one's link is dead, and the caller answers for the invitation now.

        Raises InvitationClosed, and as ``invite``.
        """
        invitation = await self._pending(invitation_id, version)
        if await self._invitations.members_among([invitation.email_norm]):
            raise AlreadyMember
        await self._letters.take(self._principal, [invitation.email_norm])
        before = _sending_of(invitation)
        invitation.resend(self._principal.membership_id, clock.now() + self._lifetime)
        await self._post([invitation])
        told = InvitationResent(
            target_id=invitation.id, email=invitation.email, before=before, after=_sending_of(invitation)
        )
        record(self._db, told)

    async def revoke(self, invitation_id: str, version: ETags | None) -> None:
        """Withdraw an invitation. Raises InvitationClosed and RoleAboveYours."""
        invitation = await self._pending(invitation_id, version)
        invitation.status = "revoked"
        await disarm(self._db, [invitation.id])
        record(self._db, InvitationRevoked(target_id=invitation.id, email=invitation.email))

    async def _pending(self, invitation_id: str, version: ETags | None) -> Invitation:
        invitation = await self._invitations.get(invitation_id, version=version)
        self._require_grantable(invitation.role)
        if invitation.status != "pending":
            raise InvitationClosed(f"It is {invitation.status}.")
        return invitation

    async def _obstacles(self, addresses: Sequence[str]) -> dict[str, AlreadyMember | InvitationOpen]:
        """What stands against inviting these normalised addresses: nothing is said about other organizations."""
        members = await self._invitations.members_among(addresses)
        pending = await self._invitations.pending_for(addresses)
        now = clock.now()
        opened = [found.email_norm for found in pending if found.open_at(now)]
        return {address: InvitationOpen(errors=[InvitationOpen.at("/email")]) for address in opened} | {
            address: AlreadyMember(errors=[AlreadyMember.at("/email")]) for address in members
        }

    async def _send_all(self, people: Sequence[InvitationCreate]) -> list[str]:
        await MEMBERS.require_room(self._db)
        addresses = [normalize(person.email) for person in people]
        await self._letters.take(self._principal, addresses)
        await self._expire_for(addresses)
        until = clock.now() + self._lifetime
        invitations = [
            Invitation(email=person.email, role=person.role, invited_by=self._principal.membership_id, expires_at=until)
            for person in people
        ]
        await self._invitations.add_many(invitations)
        await self._post(invitations)
        for invitation in invitations:
            told = InvitationCreated(
                target_id=invitation.id,
                email=invitation.email,
                role=invitation.role,
                invited_by=invitation.invited_by,
                expires_at=invitation.expires_at,
            )
            record(self._db, told)
        return [invitation.id for invitation in invitations]

    async def _expire_for(self, addresses: Sequence[str]) -> None:
        """Write down what is over already, so that the addresses are free for a new invitation."""
        now = clock.now()
        over = [found for found in await self._invitations.pending_for(addresses) if not found.open_at(now)]
        for invitation in over:
            invitation.status = "expired"
            over_at = invitation.expires_at
            record(self._db, InvitationExpired(target_id=invitation.id, email=invitation.email, expires_at=over_at))
        if over:
            await disarm(self._db, [invitation.id for invitation in over])

    async def _post(self, invitations: Sequence[Invitation]) -> None:
        await arm(self._db, {found.id: self._letters.token_digest(found) for found in invitations})
        for invitation in invitations:
            enqueue(self._db, SendInvitation(invitation_id=invitation.id, sending=invitation.sendings))

    def _require_grantable(self, role: str, *errors: FieldError) -> None:
        if not may_grant(self._principal.role, role):
            record_denied(self._db, WRITE.name, "role_above_theirs")
            raise RoleAboveYours(errors=errors)

    @property
    def _principal(self) -> Principal:
        assert self._db.principal is not None
        return self._db.principal


def _sending_of(invitation: Invitation) -> InvitationSending:
    return InvitationSending(invitation.invited_by, invitation.expires_at, invitation.sendings)


def _complaint(
    row: int, address: str, addresses: Sequence[str], obstacles: dict[str, DomainError]
) -> FieldError | None:
    at = f"/invitations/{row}/email"
    if address in obstacles:
        return obstacles[address].at(at)
    first = addresses.index(address)
    return FieldError(at, Wrong.REPEATED, f"the same as in row {first}") if first < row else None
