"""The letters of sign-up and sign-in."""

from datetime import timedelta
from typing import Final

from insula.core.db import Transaction
from insula.core.jobs import Handler, JobContext, mailing
from insula.core.listing import normalize
from insula.core.mail import Mail
from insula.core.schemas import Task
from insula.core.tokens import Kind
from insula.core.upkeep import Chore
from insula.features.identity.models import User
from insula.features.identity.repository import UserRepository, arm_link
from insula.features.identity.schemas import SendPasswordChanged, SendReset, SendSignUpAttempt, SendVerification

LIFETIMES: Final[dict[Kind, timedelta]] = {"verification": timedelta(hours=24), "reset": timedelta(hours=1)}

# No letter greets anybody: what a stranger typed as a name at sign-up would be said by us.


async def send_verification(db: Transaction, task: SendVerification, context: JobContext) -> Mail | None:
    user = await _owner(db)
    token = await _arm(db, "verification", task.credential_id, user, context)
    return None if token is None else _letter(user, context, "verify_email", token=token, expires_in="24 hours")


async def send_sign_up_attempt(db: Transaction, _: SendSignUpAttempt, context: JobContext) -> Mail:
    return _letter(await _owner(db), context, "sign_up_attempt")


async def send_reset(db: Transaction, task: SendReset, context: JobContext) -> Mail | None:
    user = await _owner(db)
    token = await _arm(db, "reset", task.credential_id, user, context)
    return None if token is None else _letter(user, context, "reset_password", token=token, expires_in="one hour")


async def send_password_changed(db: Transaction, task: SendPasswordChanged, context: JobContext) -> Mail:
    return _letter(await _owner(db), context, "password_changed", changed_at=f"{task.changed_at:%-d %B %Y, %H:%M} UTC")


async def _arm(db: Transaction, kind: Kind, credential: str, user: User, context: JobContext) -> str | None:
    """The token of a letter's link, worth something from now on; None where its purpose is gone.

    It is made for this person at this address: who names an id cannot have had the token of another person's.
    """
    keyring = context.services.keyring
    token = keyring.mailed(kind, credential, to=f"{user.id} {normalize(user.email)}")
    return token if await arm_link(db, credential, keyring.digest(token), LIFETIMES[kind]) else None


async def _owner(db: Transaction) -> User:
    """The person the job belongs to; only the job's own transaction can tell who that is."""
    assert db.principal is not None
    assert db.principal.user_id is not None
    user: User = await UserRepository(db).get(db.principal.user_id)
    return user


def _letter(user: User, context: JobContext, template: str, **said: str) -> Mail:
    return Mail(to=user.email, template=f"identity/{template}", message_id=context.job_id, context=said)


SCHEDULES: Final = (
    Chore("purge_sign_ups", timedelta(hours=1), "SELECT app.purge_sign_ups(interval '7 days', 10000)"),
    Chore("purge_account_events", timedelta(hours=1), "SELECT app.purge_account_events(interval '400 days', 50000)"),
)

HANDLERS: Final[dict[type[Task], Handler]] = {
    SendVerification: mailing(send_verification),
    SendSignUpAttempt: mailing(send_sign_up_attempt),
    SendReset: mailing(send_reset),
    SendPasswordChanged: mailing(send_password_changed),
}
