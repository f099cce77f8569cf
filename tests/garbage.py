"""A run of the tests begins like the program: nothing is collected while everything is being imported and listed."""

import pytest

from insula.garbage import collect, rest

rest()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    collect()
