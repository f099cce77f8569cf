"""What the tests of several features ask for."""

import httpx
import pytest
from litestar import Litestar

from tests.factories import World
from tests.features.test_identity_letters import Mailbox


@pytest.fixture
def mailbox(world: World, litestar: Litestar) -> Mailbox:
    return Mailbox(world, litestar)


@pytest.fixture
def stranger(world: World) -> httpx.AsyncClient:
    return world.client()
