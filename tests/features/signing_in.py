"""People with a password, and their way in."""

from typing import Any

import httpx
from argon2 import PasswordHasher

from insula.core.ids import to_uuid
from tests.factories import Person, World

PASSWORD = "correct horse battery staple"
NEW_PASSWORD = "every good boy deserves fudge"


async def give_password(world: World, person: Person, password: str = PASSWORD) -> None:
    """Faster than a sign-up; the parameters are outdated ones that cost next to nothing."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    await world.superuser.execute(
        "INSERT INTO app.password (user_id, hash) VALUES ($1, $2)", to_uuid("usr", person.id), cheap.hash(password)
    )


async def sign_in(client: httpx.AsyncClient, email: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
    return await client.post("/v1/auth/sign-in", json={"email": email, "password": password, **more})
