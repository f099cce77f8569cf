"""The proxies of deploy/ as the tests run them: on free ports, in front of our processes, and otherwise as they are."""

import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final, Self

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from insula.embedded.process import free_port
from tests.authority import SIGNS

_DEPLOY: Final = Path(__file__).parents[2] / "deploy"
_SERVERS: Final = re.compile(r"(?m)((?:^    server \w+ \S+:\d+\n)+)")
_CADDY_KNOWS_SIZES: Final = (2, 6, 3)


class Proxy:
    """A proxy in a folder of its own. It answers when it is entered."""

    url: str
    plain: str
    """Where it takes plain HTTP."""
    trust: ssl.SSLContext | bool
    """What a client needs to believe its certificate."""

    def __init__(self, folder: Path, command: Sequence[str | Path]) -> None:
        self._folder, self._command = folder, command

    def __enter__(self) -> Self:
        log = self._folder / "proxy.log"
        options: dict[str, Any] = {"env": os.environ | {"XDG_DATA_HOME": str(self._folder), "HOME": str(self._folder)}}
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, **options
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/readyz", verify=self.trust).status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        self.__exit__()
        raise RuntimeError(f"nobody answers behind the proxy: {log.read_text()}")

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL; entering it again starts it on the same port."""
        self._process.kill()
        self._process.wait(timeout=10)


class HAProxy(Proxy):
    """From deploy/haproxy.cfg, with a certificate of its own."""

    def __init__(self, folder: Path, servers: Sequence[int], change: Callable[[str], str] = str) -> None:
        self._configuration, port = folder / "haproxy.cfg", free_port()
        self.certificate = folder / "haproxy.pem"
        super().__init__(folder, ["haproxy", "-db", "-f", self._configuration])
        self.plain = f"http://127.0.0.1:{free_port()}"
        self.certificate.write_bytes(_certificate())
        text = (_DEPLOY / "haproxy.cfg").read_text()
        text = re.sub(r"(?m)^    (user|group|stats socket) .*\n", "", text)
        text = text.replace("maxconn 20000", "maxconn 400")  # as many files as any machine has for us
        text = text.replace("bind :80\n", f"bind {self.plain.removeprefix('http://')}\n")
        text = text.replace("bind :443 ", f"bind 127.0.0.1:{port} ")
        text = text.replace("/etc/haproxy/certs/", str(self.certificate))
        head, _, tail = _SERVERS.split(text, maxsplit=1)
        places = "".join(f"    server api{number} 127.0.0.1:{port}\n" for number, port in enumerate(servers, 1))
        text = head + places + tail
        self._configuration.write_text(change(text))
        self.url = f"https://127.0.0.1:{port}"
        self.trust = ssl.create_default_context(cafile=str(self.certificate))

    def complaints(self) -> str:
        """What `haproxy -c` has to say about the file; nothing, if it is right."""
        checked = subprocess.run(
            ["haproxy", "-q", "-dW", "-c", "-f", self._configuration], capture_output=True, text=True, check=False
        )
        return checked.stderr if checked.returncode else ""


class Cells(Proxy):
    """From deploy/cells.cfg, in front of installations that speak plain HTTP here; both maps are files of the folder."""

    def __init__(self, folder: Path, cells: Sequence[int], hosts: dict[str, str]) -> None:
        configuration, port, certificate = folder / "cells.cfg", free_port(), folder / "haproxy.pem"
        self.socket, self._organizations = folder / "admin.sock", folder / "organizations.map"
        self.plain = f"http://127.0.0.1:{free_port()}"
        super().__init__(folder, ["haproxy", "-db", "-f", configuration])
        certificate.write_bytes(_certificate())
        (folder / "cells.pem").write_bytes(_certificate())
        text = re.sub(r"(?m)^    (user|group) .*\n", "", (_DEPLOY / "cells.cfg").read_text())
        for ours, free in (
            ("/run/haproxy/admin.sock", str(self.socket)),
            ("maxconn 20000", "maxconn 400"),
            ("bind :443 ", f"bind 127.0.0.1:{port} "),
            ("bind :80\n", f"bind {self.plain.removeprefix('http://')}\n"),
            ("/etc/haproxy/certs/", str(certificate)),
            ("/etc/haproxy/", f"{folder}/"),
            *((f"cell{number}.internal:443 ssl", f"127.0.0.1:{cell} #") for number, cell in enumerate(cells, 1)),
        ):
            assert ours in text
            text = text.replace(ours, free)
        configuration.write_text(text)
        (folder / "hosts.map").write_text("".join(f"{host} {cell}\n" for host, cell in hosts.items()))
        self._organizations.touch()
        self.url = f"https://127.0.0.1:{port}"
        self.trust = ssl.create_default_context(cafile=str(certificate))

    def place(self, organization: str, cell: str) -> None:
        """Say where an organization is, while the proxy runs."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self.socket))
            admin.sendall(f"add map {self._organizations} {organization} {cell}\n".encode())
            assert admin.recv(1000).strip() == b""


class Caddy(Proxy):
    """From deploy/compose/Caddyfile, without TLS: for an address it would need a certificate of the world's."""

    def __init__(self, folder: Path, server: int, change: Callable[[str], str] = str) -> None:
        configuration, port = folder / "Caddyfile", free_port()
        super().__init__(folder, ["caddy", "run", "--adapter", "caddyfile", "--config", configuration])
        text = (_DEPLOY / "compose" / "Caddyfile").read_text()
        for ours, free in (("http_port 8080", "http_port"), ("https_port 8443", "https_port"), (":8081", ":")):
            assert ours in text
            text = text.replace(ours, f"{free} {free_port()}".replace(": ", ":"))
        assert "request_buffers 2MB" in text
        said = subprocess.run(["caddy", "version"], capture_output=True, text=True, check=True).stdout
        if tuple(map(int, re.findall(r"\d+", said)[:3])) < _CADDY_KNOWS_SIZES:
            text = text.replace("request_buffers 2MB", "buffer_requests")
        self.plain = f"http://127.0.0.1:{free_port()}"
        assert "http://{$DOMAIN} {" in text
        text = text.replace("http://{$DOMAIN}", self.plain)
        assert "{$DOMAIN}" in text
        assert " api:8000 " in text
        text = text.replace("{$DOMAIN}", f"http://127.0.0.1:{port}").replace(" api:8000 ", f" 127.0.0.1:{server} ")
        configuration.write_text(change(text))
        self.url, self.trust = f"http://127.0.0.1:{port}", True


def _certificate() -> bytes:
    """A key and a certificate for 127.0.0.1, signed by itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(SIGNS, critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(encoding, form, serialization.NoEncryption())
    return certificate.public_bytes(encoding) + secret
