"""How long to fuzz."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz-examples", type=int, default=2, help="requests per operation and caller; the long form is 300"
    )
