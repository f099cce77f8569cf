"""`insula doctor` says what is wrong with an installation, once."""

import re
from pathlib import Path

import pytest

from tests.journeys.commanding import ADDRESSES, describe, insula

pytestmark = pytest.mark.usefixtures("nothing_is_configured")


def test_where_nothing_is_up_doctor_names_what_is_wrong_with_the_variables_there_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("INSULA_PORT", "eighty")
    first, second = insula("doctor").output.splitlines()
    assert f"nothing is up in {tmp_path}" in first
    assert "INSULA_PORT: " in second


def test_doctor_guesses_at_no_setting_that_is_far_from_what_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """That all names begin alike makes none of them likely."""
    monkeypatch.setenv("INSULA_FOO", "1")
    monkeypatch.setenv("INSULA_PROT", "80")
    assert [line.removeprefix("settings  ") for line in insula("doctor").output.splitlines()[1:]] == [
        "INSULA_FOO is no setting",
        "INSULA_PROT is no setting; is INSULA_PORT meant?",
    ]


def test_doctor_says_in_a_line_that_the_up_of_these_variables_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    describe(monkeypatch, **ADDRESSES)
    examined = insula("doctor")
    assert examined.exit_code == 1
    (line,) = (line for line in examined.output.splitlines() if line.startswith("wrong"))
    assert "the `insula up` of these variables: it has ended" in line
    assert "insula env" in examined.output


def test_doctor_takes_servers_elsewhere_for_no_up_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The overlay for development is no production either."""
    elsewhere = {name: url.replace("127.0.0.1", "db.invalid") for name, url in ADDRESSES.items()}
    describe(monkeypatch, **elsewhere)
    examined = insula("doctor")
    assert "wrong  INSULA_DATABASE_URL" in examined.output
    assert "insula up" not in examined.output


def test_doctor_tells_of_a_server_that_is_away_once(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"environment": "production", "base_url": "https://app.example.com", "smtp_tls": "tls"}
    describe(monkeypatch, **ADDRESSES, **changes)
    examined = insula("doctor")
    assert examined.exit_code == 1
    assert re.findall(r"(?m)^wrong  ([^:]+):", examined.output) == [
        "INSULA_DATABASE_URL",
        "INSULA_REDIS_URL",
        "INSULA_SMTP_HOST",
    ]
    assert not re.search(r"\w+Error: ", examined.output), "sentences say what is wrong, and no names of classes"
    told = examined.output.splitlines()[-1]
    for subject in ("INSULA_IDENTITY_DATABASE_URL", "the schema", "the proof of isolation", "the door's key"):
        assert subject in told


def test_doctor_tells_of_two_servers_that_are_away(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = {"platform_database_url": "postgresql://app_platform:3@127.0.0.1:2/insula"}
    changes = {"environment": "production", "base_url": "https://app.example.com", "smtp_tls": "tls"}
    describe(monkeypatch, **ADDRESSES | elsewhere, **changes)
    found = re.findall(r"(?m)^wrong  (\w+DATABASE_URL):", insula("doctor").output)
    assert found == ["INSULA_DATABASE_URL", "INSULA_PLATFORM_DATABASE_URL"]
