"""What the tests of several features ask for."""

import pytest
from litestar import Litestar

from tests.factories import World
from tests.features.test_identity_letters import Mailbox


@pytest.fixture
def mailbox(world: World, litestar: Litestar) -> Mailbox:
    return Mailbox(world, litestar)
