"""How long chaos lasts; the options are known where this folder is named on the command line."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-kills", type=int, default=12, help="how often something is killed -9 (long form: 300)")
    parser.addoption("--chaos-seconds", type=float, default=6, help="within how many seconds (long form: 600)")
