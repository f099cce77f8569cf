"""What else is wrong with a refused body that holds a new password: who mistyped an address hears of both at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from insula.core.errors import FieldError, RateLimited
from insula.core.http.rate_limit import counted_address
from insula.core.passwords import PasswordRefused, Passwords
from insula.features.identity.throttle import Throttle


async def judge_password(
    state: Any, client: str, sent: Mapping[str, Any], wrong: frozenset[str]
) -> Sequence[FieldError]:
    """What is wrong with the ``password`` that was sent; nothing, for an address that asked too often.

    A body that is refused costs no hash and tells of no account.
    """
    password = sent.get("password")
    if "/password" in wrong or not isinstance(password, str):  # of a long body not everything is complained about
        return ()
    throttle = Throttle(state.limiter, state.settings.rate_sign_in_per_minute, state.keyring)
    passwords: Passwords = state.passwords
    about = [told for name in ("email", "name") if isinstance(told := sent.get(name), str)]
    try:
        if await throttle.may_judge(counted_address(client)):
            await passwords.require_good(password, about)
    except PasswordRefused as refused:
        return refused.errors
    except RateLimited:  # too busy now: what is known already is told all the same
        pass
    return ()
