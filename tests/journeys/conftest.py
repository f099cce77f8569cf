"""A shell in which nobody has set anything of ours."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def nothing_is_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("INSULA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("INSULA_HOME", str(tmp_path))
