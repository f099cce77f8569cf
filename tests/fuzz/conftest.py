"""How long to fuzz, and which requests."""

import pytest

SEED = 116
"""Always the same unless another is asked for: what passes today passes tomorrow."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz-examples",
        type=int,
        default=1,
        help="generated requests per operation and caller, and half as many that break the document; long form: 300",
    )
    parser.addoption("--fuzz-seed", type=int, default=SEED, help="other requests, as many as there are numbers")
