"""How long an answer takes tells nobody who has an account: requests that take turns, and what each kind took."""

import random
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
from argon2 import PasswordHasher

from insula.core import passwords
from tests.attacks.test_authentication import give_modern_password
from tests.factories import Person, World
from tests.features.signing_in import NEW_PASSWORD, PASSWORD

FEW, ROUNDS = 10, 10
GAP_SECONDS = 0.005
ROOM = 3
"""The quickest of few are this far apart at most; a hash that is left out makes ten times the difference."""

Body = dict[str, str]
Kinds = dict[str, Callable[[int], Body]]
"""What to send the n-th time, by what is behind the address."""


@pytest.mark.attack(17)
async def test_a_failed_sign_in_takes_as_long_whatever_the_reason(world: World, pytestconfig: pytest.Config) -> None:
    wrong, disabled, without_password = await person(world), await person(world), await world.person()
    unverified = await person(world)
    await disable(world, disabled)
    await world.superuser.execute('UPDATE app."user" SET email_verified_at = NULL WHERE email = $1', unverified.email)
    signing_up = f"signing.up.{wrong.email}"
    body = {"name": "Ada", "email": signing_up, "password": PASSWORD}
    assert (await world.client().post("/v1/auth/sign-up", json=body)).status_code == 202

    def tries(email: str, password: str = PASSWORD) -> Callable[[int], Body]:
        return lambda _: {"email": email, "password": password}

    kinds = {
        "unknown": lambda n: {"email": f"nobody{n}.{wrong.email}", "password": PASSWORD},
        "wrong password": tries(wrong.email, NEW_PASSWORD),
        "unverified": tries(unverified.email),
        "signing up": tries(signing_up),
        "disabled": tries(disabled.email),
        "without a password": tries(without_password.email),
    }
    await assert_alike(world, pytestconfig, "/v1/auth/sign-in", 401, kinds)


@pytest.mark.attack(18)
@pytest.mark.parametrize("path", ["sign-up", "reset-mail", "verification-mail"])
async def test_asking_for_a_letter_takes_as_long_whoever_has_an_account(
    world: World, pytestconfig: pytest.Config, path: str
) -> None:
    known, disabled = await person(world), await person(world)
    await disable(world, disabled)
    unverified = f"unverified.{known.email}"
    signed_up = {"name": "Ada", "email": unverified, "password": PASSWORD}
    assert (await world.client().post("/v1/auth/sign-up", json=signed_up)).status_code == 202
    more = {"name": "Ada", "password": PASSWORD} if path == "sign-up" else {}
    kinds: Kinds = {
        "absent": lambda n: {"email": f"absent{n}.{known.email}", **more},
        "existing": lambda _: {"email": known.email, **more},
        "unverified": lambda _: {"email": unverified, **more},
        "disabled": lambda _: {"email": disabled.email, **more},
    }
    await assert_alike(world, pytestconfig, f"/v1/auth/{path}", 202, kinds)


async def person(world: World) -> Person:
    """Somebody whose password costs what today's do."""
    made = await world.person()
    await give_modern_password(world, made, PasswordHasher.from_parameters(passwords.PARAMETERS).hash(PASSWORD))
    return made


async def disable(world: World, somebody: Person) -> None:
    await world.superuser.execute('UPDATE app."user" SET disabled_at = now() WHERE email = $1', somebody.email)


async def assert_alike(world: World, config: pytest.Config, url: str, status: int, kinds: Kinds) -> None:
    """Medians, strictly, where ``--timing-samples`` asks for enough to tell; else what no busy machine explains.

    What else a machine does comes and goes, and takes some answers ten times as long: of few it can be most of one
    kind's, so that their median says nothing. The quickest of each were answered while nothing else was done; where
    that is not so yet, more are asked for, and none of them makes up for a hash that is always left out. One that is
    left out now and then is found by the medians alone.
    """
    asked: int | None = config.getoption("--timing-samples", None)
    turns = Turns(world, url, status, kinds)
    if asked:
        await turns.run(asked)
        alike, told = turns.alike(median, 1)
    else:
        alike = False
        for _ in range(ROUNDS):
            await turns.run(FEW)
            alike, told = turns.alike(min, ROOM)
            if alike:
                break
    print(told)
    assert alike, told


class Turns:
    """Requests of several kinds, which take turns in another order each time, so that noise meets all alike."""

    def __init__(self, world: World, url: str, status: int, kinds: Kinds) -> None:
        self._world, self._url, self._status, self._kinds = world, url, status, kinds
        self._seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
        self._next = -1

    async def run(self, samples: int) -> None:
        """Ask so many more of each kind, and one before the first of all, which warms up."""
        async with self._world.client() as client:
            for n in range(self._next, max(self._next, 0) + samples):
                for kind in random.sample(list(self._kinds), len(self._kinds)):
                    body: Any = self._kinds[kind](n)
                    began = time.perf_counter()
                    answer = await client.post(self._url, json=body)
                    if n >= 0:
                        self._seconds[kind].append(time.perf_counter() - began)
                    assert answer.status_code == self._status, answer.text
                self._next = n + 1

    def alike(self, typical: Callable[[list[float]], float], room: float) -> tuple[bool, str]:
        """Whether the ``typical`` seconds of all kinds are within ``room`` and GAP_SECONDS; and what they are."""
        found = {kind: typical(seconds) for kind, seconds in self._seconds.items()}
        told = f"{self._url}: " + ", ".join(f"{kind} {seconds * 1000:.2f} ms" for kind, seconds in found.items())
        return max(found.values()) < room * min(found.values()) + GAP_SECONDS, told
