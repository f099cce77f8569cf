"""Addresses of servers that are as they should be."""

import pytest

from insula.settings import load
from tests.core.test_settings import GOOD


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_url", "https://app.example.com/"),
        ("base_url", "https://app.example.com:8443"),
        ("base_url", "https://xn--bcher-kva.example"),
        ("base_url", "https://[2001:db8::1]:8443"),
        ("redis_url", "rediss://insula:pass%2Fword@redis:6380/12?ssl_ca_certs=/etc/ca.pem"),
        ("redis_url", "unix:///run/redis.sock?db=3"),
        ("traces_url", "https://collector/v1/traces"),
    ],
)
def test_addresses_that_are_good_are_taken(name: str, value: str) -> None:
    assert getattr(load({**GOOD, f"INSULA_{name.upper()}": value}), name) == value
