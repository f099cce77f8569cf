"""One command in this process, and addresses where nobody is."""

from typing import Any

import pytest
from click.testing import CliRunner, Result

from insula.__main__ import main
from insula.settings import variables
from tests.factories import settings_for

ADDRESSES = {
    "database_url": "postgresql://app_rw:1@127.0.0.1:1/insula",
    "identity_database_url": "postgresql://app_identity:2@127.0.0.1:1/insula",
    "platform_database_url": "postgresql://app_platform:3@127.0.0.1:1/insula",
    "owner_database_url": "postgresql://app_migrator:4@127.0.0.1:1/insula",
    "redis_url": "redis://127.0.0.1:1",
}
"""Where nobody is."""


def describe(monkeypatch: pytest.MonkeyPatch, **given: Any) -> None:
    """Set the variables of an installation with these settings."""
    for name, value in variables(settings_for(**given)).items():
        monkeypatch.setenv(name, value)


def insula(*command: str) -> Result:
    return CliRunner().invoke(main, command, prog_name="insula")
