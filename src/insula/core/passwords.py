"""Passwords: which are good enough, and Argon2id in a few threads with a short queue before them."""

import asyncio
import math
import os
import secrets
import sys
import threading
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Annotated, Final, TypeVar

from argon2 import Parameters, PasswordHasher, Type, extract_parameters
from msgspec import Meta
from zxcvbn import zxcvbn
from zxcvbn.matching import L33T_TABLE

from insula.core import metrics
from insula.core.errors import FieldError, RateLimited, Unprocessable, Wrong

T = TypeVar("T")

Password = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        description="Any characters that can be typed; the length is what makes it strong. A new one needs at least 15"
        " characters, unless the installation asks for another length.",
        examples=["correct horse battery staple"],
    ),
]
"""A password as a request carries it, new or not; ``Passwords.require_good`` judges new ones."""

PARAMETERS: Final = Parameters(
    type=Type.ID, version=19, salt_len=16, hash_len=32, time_cost=2, memory_cost=19_456, parallelism=1
)
"""OWASP's choice: 19 MiB and 28 ms of CPU. Hashes made with other parameters are renewed when their owners sign in."""

_WAITING_PER_THREAD: Final = 64
"""About two seconds' worth; whoever came later would rather be told to come again."""
_NICE: Final = 10
_SHORTEST_GIVEAWAY: Final = 4
"""Shorter names occur inside of good passwords by chance."""
_UNTYPABLE: Final = {"Cc", "Cs", "Zl", "Zp"}
_TOO_EASY: Final = "too easy to guess: common words and patterns, repeated or in a row, are tried first"
_JUDGED: Final = 40
"""Characters; zxcvbn's work grows with their square."""
_READINGS: Final = 16
"""Of a part; some 25 ms of work for all parts together."""
_GOOD_SCORE: Final = 3
"""Of 4: more than 10^8 guesses."""
_SOME_TAG: Final = "A" * 43  # 32 bytes in the base64 of the PHC string format


class PasswordRefused(Unprocessable):
    """The new password is not good enough; ``errors`` say why."""

    code, title = "password_refused", "This password cannot be used"


class Passwords:
    """Judges new passwords and hashes all of them, few at a time.

    A storm of sign-ins so takes ``parallel`` threads and 19 MiB for each, never more; those that wait hold no
    database connection, and those that would wait too long are refused.

    What is stored is the PHC string ``$argon2id$v=19$m=..,t=..,p=..$salt$tag``. It never leaves the database: its
    *recipe*, all but the tag, is enough to make the same string again from the right password, and only from that.
    """

    def __init__(self, *, parallel: int, min_length: int) -> None:
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="argon2", initializer=_stand_back)
        self._room = parallel * (1 + _WAITING_PER_THREAD)
        self._min_length = min_length
        self._nobodys = _fresh_recipe()

    async def require_good(
        self, password: str, about: Sequence[str], pointer: str = "/password", *, current: str | None = None
    ) -> None:
        """Raise PasswordRefused for a new one that is short, untypable, tells what is known, or is guessed early.

        ``about`` is what everybody knows of its owner: the address, the name. No rules of composition and no
        truncation (NIST SP 800-63B-4, section 3.1.1.2). ``current`` is what its owner says is the one in use; whether
        that is true costs a hash, and need not be known to refuse the same. Raises RateLimited when too many wait
        already.
        """
        text = _normalized(password)
        complaints: list[tuple[Wrong, str]] = []
        if current is not None and text == _normalized(current):
            complaints.append((Wrong.UNCHANGED, "must be another one than the current password"))
        if len(text) < self._min_length:
            complaints.append((Wrong.TOO_SHORT, f"at least {self._min_length} characters"))
        if any(unicodedata.category(character) in _UNTYPABLE for character in text):
            complaints.append((Wrong.MALFORMED, "no control characters"))
        if any(giveaway in text.casefold() for giveaway in _giveaways(about)):
            complaints.append((Wrong.GUESSABLE, "must not contain your name or your e-mail address"))
        if not complaints and await self._in_thread(_predictable, text):
            complaints.append((Wrong.GUESSABLE, _TOO_EASY))
        if complaints:
            raise PasswordRefused(errors=[FieldError(pointer, code, detail) for code, detail in complaints])

    async def hash(self, password: str) -> str:
        """What to store for a new password. Raises RateLimited when too many wait already."""
        return await self._in_thread(_cooked, _normalized(password), _fresh_recipe())

    async def answer(self, password: str, recipe: str | None) -> str:
        """The string that is stored if ``password`` is right; where there is no recipe, one that nobody has.

        Both take the same time, so that it does not tell who has an account. Raises RateLimited likewise.
        """
        return await self._in_thread(_cooked, _normalized(password), recipe or self._nobodys)

    async def _in_thread(self, work: Callable[..., T], *given: str) -> T:
        if self._room <= 0:
            metrics.AUTH.labels("password", "shed").inc()
            raise RateLimited(retry_after=1)
        self._room -= 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, work, *given)
        finally:
            self._room += 1


def outdated(recipe: str) -> bool:
    """Whether a stored hash was made with other parameters than today's."""
    return extract_parameters(recipe + _SOME_TAG) != PARAMETERS


def _stand_back() -> None:
    """Let everything else of this process go first: on Linux, where priorities are each thread's own.

    What raised here would end every sign-in with it; a sandbox that keeps priorities as they are costs speed only.
    """
    if sys.platform == "linux":
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _predictable(text: str) -> bool:
    """Whether guessers come to it early; one of which a part is good is good, and the rest is not judged."""
    return not any(zxcvbn(part)["score"] >= _GOOD_SCORE for part in _parts(text[:_JUDGED]))


def _parts(text: str) -> Iterator[str]:
    """Cut where zxcvbn would have too many ways to read the signs that stand for letters.

    It looks all words up again for each of them: with eleven different signs that took it seconds, in which nobody
    signed in.
    """
    start = 0
    for end in range(1, len(text) + 1):
        if _readings(text[start:end]) > _READINGS:
            yield text[start : end - 1]
            start = end - 1
    yield text[start:]


def _readings(text: str) -> int:
    return math.prod(max(1, len(set(signs) & set(text))) for signs in L33T_TABLE.values())


def _cooked(text: str, recipe: str) -> str:
    encoded = recipe.split("$")[4]
    salt = b64decode(encoded + "=" * (-len(encoded) % 4))
    return PasswordHasher.from_parameters(extract_parameters(recipe + _SOME_TAG)).hash(text, salt=salt)


def _fresh_recipe() -> str:
    salt = b64encode(secrets.token_bytes(PARAMETERS.salt_len)).decode().rstrip("=")
    cost = f"m={PARAMETERS.memory_cost},t={PARAMETERS.time_cost},p={PARAMETERS.parallelism}"
    return f"$argon2id$v={PARAMETERS.version}${cost}${salt}$"


def _normalized(password: str) -> str:
    """One keyboard writes é as one code point, another as two (NIST SP 800-63B-4: NFKC before hashing)."""
    return unicodedata.normalize("NFKC", password)


def _giveaways(about: Sequence[str]) -> Iterator[str]:
    for text in about:
        folded = _normalized(text).casefold()
        for giveaway in {folded, folded.replace(" ", ""), folded.partition("@")[0]}:
            if len(giveaway) >= _SHORTEST_GIVEAWAY:
                yield giveaway
