"""What `insula up` takes from the environment and from its options, and what is its own to say."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from insula.__main__ import main
from insula.ours import OURS
from insula.server import hold
from insula.settings import Settings
from insula.up import _on_ports, _settings


def started(home: Path, base_url: str | None) -> Settings:
    ports: Any = SimpleNamespace(server_port=2, smtp_port=3)
    with hold("127.0.0.1", 0) as held:
        return _on_ports(_settings(home, 1, "redis://127.0.0.1:1", base_url), held, ports, ports)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "http://localhost:5173"])
def test_a_base_url_that_is_given_is_taken(tmp_path: Path, url: str) -> None:
    assert started(tmp_path, url).base_url == url


def test_without_one_it_is_where_the_api_listens(tmp_path: Path) -> None:
    settings = started(tmp_path, None)
    assert settings.base_url == f"http://127.0.0.1:{settings.port}"


def test_no_server_and_no_secret_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = Settings.__struct_fields__
    places = {f"INSULA_{name.upper()}" for name in names if name.endswith(("database_url", "redis_url", "command"))}
    secrets = {f"INSULA_{name.upper()}" for name in names if name.startswith("secret_key")}
    assert places | secrets <= OURS
    before = _settings(tmp_path, 1, "redis://127.0.0.1:1", None)
    for name in OURS:
        monkeypatch.setenv(name, "elsewhere")
    assert _settings(tmp_path, 1, "redis://127.0.0.1:1", None) == before


@pytest.mark.parametrize("url", ["", "localhost:5173", "http://localhost:5173/path"])
def test_up_refuses_a_base_url_that_is_none_in_the_options_own_name(url: str) -> None:
    told = CliRunner().invoke(main, ["up", "--base-url", url])
    assert told.exit_code == 2
    assert "Invalid value for '--base-url'" in told.output
    assert "INSULA_BASE_URL" not in told.output
