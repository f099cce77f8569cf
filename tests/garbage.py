"""A run of the tests begins like the program: nothing is collected while everything is being imported and listed."""

import pytest

from insula.garbage import collect, rest

rest()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """In each worker, and in what hands out the tests to them."""
    collect()
