"""How many restarts and rows; the options are known where this folder is named on the command line."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--deploy-restarts", type=int, default=4, help="restarts of API processes (long form: 50)")
    parser.addoption("--deploy-rows", type=int, default=20_000, help="rows of the table that is migrated under load")
