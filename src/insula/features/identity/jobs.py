"""The letters of sign-up and sign-in."""

from datetime import timedelta
from typing import Final

from insula.core.db import Transaction
from insula.core.jobs import Handler, JobContext, mailing
from insula.core.mail import Mail
from insula.core.schemas import Task
from insula.core.upkeep import Chore
from insula.features.identity.models import User
from insula.features.identity.repository import UserRepository, arm_link
from insula.features.identity.schemas import SendPasswordChanged, SendReset, SendSignUpAttempt, SendVerification

VERIFICATION_LIFETIME: Final = timedelta(hours=24)
RESET_LIFETIME: Final = timedelta(hours=1)

# No letter greets anybody: what a stranger typed as a name at sign-up would be said by us.


async def send_verification(db: Transaction, task: SendVerification, context: JobContext) -> Mail | None:
    token = context.services.keyring.mailed("verification", task.credential_id)
    if not await arm_link(db, task.credential_id, context.services.keyring.digest(token), VERIFICATION_LIFETIME):
        return None
    return await _letter(db, context, "verify_email", token=token, expires_in="24 hours")


async def send_sign_up_attempt(db: Transaction, _: SendSignUpAttempt, context: JobContext) -> Mail:
    return await _letter(db, context, "sign_up_attempt")


async def send_reset(db: Transaction, task: SendReset, context: JobContext) -> Mail | None:
    token = context.services.keyring.mailed("reset", task.credential_id)
    if not await arm_link(db, task.credential_id, context.services.keyring.digest(token), RESET_LIFETIME):
        return None
    return await _letter(db, context, "reset_password", token=token, expires_in="one hour")


async def send_password_changed(db: Transaction, task: SendPasswordChanged, context: JobContext) -> Mail:
    return await _letter(db, context, "password_changed", changed_at=f"{task.changed_at:%-d %B %Y, %H:%M} UTC")


async def _letter(db: Transaction, context: JobContext, template: str, **said: str) -> Mail:
    """To the person the job belongs to; only the job's own transaction can tell who that is."""
    assert db.principal is not None
    assert db.principal.user_id is not None
    user: User = await UserRepository(db).get(db.principal.user_id)
    return Mail(to=user.email, template=f"identity/{template}", message_id=context.job_id, context=said)


SCHEDULES: Final = (Chore("purge_sign_ups", timedelta(hours=1), "SELECT app.purge_sign_ups(interval '7 days', 10000)"),)

HANDLERS: Final[dict[type[Task], Handler]] = {
    SendVerification: mailing(send_verification),
    SendSignUpAttempt: mailing(send_sign_up_attempt),
    SendReset: mailing(send_reset),
    SendPasswordChanged: mailing(send_password_changed),
}
