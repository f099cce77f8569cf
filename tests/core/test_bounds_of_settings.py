"""What is too much of a setting is refused at the start, and not by what breaks over it later."""

from base64 import b64encode

import pytest

from insula.settings import load
from tests.core.test_settings import GOOD, complaints


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("session_idle_hours", 8_760),
        ("session_max_hours", 8_760),
        ("request_max_bytes", 64 * 1024 * 1024),
        ("limit_projects", 2**31 - 1),
        ("limit_teams", 2**31 - 1),
        ("rate_per_minute", 2**31 - 1),
        ("drain_seconds", 86_400),
        ("event_retention_days", 36_500),
        ("pool_size", 1024),
        ("argon2_parallel", 1024),
        ("worker_concurrency", 1024),
    ],
)
def test_a_setting_has_a_bound_that_is_told(name: str, most: int) -> None:
    assert complaints(**{name: str(most + 1)}).startswith(f"INSULA_{name.upper()}: Expected ")
    assert (
        getattr(load({**GOOD, "INSULA_SESSION_MAX_HOURS": "8760", f"INSULA_{name.upper()}": str(most)}), name) == most
    )


@pytest.mark.parametrize("key", [bytes(32), b"x" * 64, b"changeme" * 4])
def test_a_key_of_few_different_bytes_is_refused(key: bytes) -> None:
    weak = b64encode(key).decode()
    assert complaints(secret_key=weak) == (
        "INSULA_SECRET_KEY: these are no random bytes; `openssl rand -base64 32` makes some"
    )
    assert load({**GOOD, "INSULA_SECRET_KEY_PREVIOUS": weak}).secret_key_previous == weak, (
        "else nobody could replace it"
    )
