"""From the edge to API processes on other machines: over TLS, and only to those that the inside's authority vouches for."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from insula.settings import Settings
from tests.authority import Authority
from tests.deploy.proxies import HAProxy
from tests.journeys.test_processes import Process, environment, free_port, started

__all__ = ["started"]

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"
(OPTIONS,) = re.findall(r"# server api1 10\.0\.0\.1:8001 (ssl .*)", CONFIGURATION.read_text())
NAME = "api.internal"


def api(files: tuple[Path, Path] | None, settings: Settings, started: list[Process], folder: Path) -> int:
    """The port of a new API process that serves with a certificate and its key, or without."""
    port = free_port()
    given = {"tls_certificate_file": str(files[0]), "tls_key_file": str(files[1])} if files else {}
    started.append(Process("api", environment(settings, port=port, **given), folder / f"{port}.log"))
    return port


def before(ports: list[int], authority: Authority, folder: Path) -> HAProxy:
    """The proxy as its file says that it is before other machines."""

    def elsewhere(text: str) -> str:
        changed, times = re.subn(r"(?m)^(    server \w+ \S+)$", rf"\1 {OPTIONS}", text)
        assert times == len(ports)
        assert "/etc/haproxy/inside.pem" in changed
        return changed.replace("/etc/haproxy/inside.pem", str(authority.file))

    return HAProxy(folder, ports, elsewhere)


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    (tmp_path / "signed").mkdir()
    return Authority(tmp_path / "signed")


def test_a_process_that_the_authority_vouches_for_is_asked_over_tls(
    authority: Authority, settings: Settings, started: list[Process], tmp_path: Path
) -> None:
    port = api(authority.certificate(NAME), settings, started, tmp_path)
    started[-1].until("api listening")
    with before([port], authority, tmp_path) as proxy:
        assert proxy.complaints() == ""
        for _ in range(20):
            assert httpx.get(f"{proxy.url}/v1/me", verify=proxy.trust).status_code == 401
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/readyz")


def test_nobody_else_is_asked(authority: Authority, settings: Settings, started: list[Process], tmp_path: Path) -> None:
    """Another authority, another name, and no TLS at all."""
    stranger = Authority(tmp_path / "signed", "stranger")
    ports = [
        api(files, settings, started, tmp_path)
        for files in (stranger.certificate(NAME), authority.certificate("another.internal"), None)
    ]
    for process in started:
        process.until("api listening")
    proxy = before(ports, authority, tmp_path)
    proxy.url += "/nowhere"  # the answer is the proxy's, and no operation's
    with pytest.raises(RuntimeError, match="nobody answers behind the proxy"), proxy:
        pass
    said = (tmp_path / "proxy.log").read_text()
    assert [number for number in (1, 2, 3) if f"Server api/api{number} is DOWN" in said] == [1, 2, 3]
    assert said.count("Layer6 invalid response") + said.count("SSL handshake failure") >= 3
