"""The letter of an invitation, and the end of invitations that are long over."""

from datetime import timedelta
from typing import Final

from insula.core.db import Transaction
from insula.core.jobs import Handler, JobContext, mailing
from insula.core.mail import Mail
from insula.core.schemas import Task
from insula.core.upkeep import Chore
from insula.features.invitations.letters import addressee
from insula.features.invitations.repository import LETTER
from insula.features.invitations.schemas import SendInvitation


async def send_invitation(db: Transaction, task: SendInvitation, context: JobContext) -> Mail | None:
    """Nothing is sent for an invitation that was sent anew, is closed, or has nobody to answer for it any more."""
    letter = await LETTER.one_or_none(db, id=task.invitation_id, sending=task.sending)
    if letter is None:
        return None
    keyring = context.services.keyring
    to = addressee(letter.organization_id, task.invitation_id, letter.email_norm)
    token = keyring.mailed("invitation", letter.credential_id, to=to, sending=task.sending)
    return Mail(
        to=letter.email,
        template="invitations/invitation",
        message_id=context.job_id,
        context={
            "token": token,
            "organization_name": letter.organization_name,
            "inviter_name": letter.inviter_name,
            "role_name": letter.role.capitalize(),
            "open_until": f"{letter.expires_at:%-d %B %Y, %H:%M} UTC",
        },
    )


PURGE: Final = Chore(
    "purge_invitations", timedelta(hours=1), "SELECT stayed FROM app.purge_invitations(interval '90 days', 50000)"
)
"""They hold addresses of people who may never have come; what became of each stands in the events."""

SCHEDULES: Final = (PURGE,)
HANDLERS: Final[dict[type[Task], Handler]] = {SendInvitation: mailing(send_invitation)}
