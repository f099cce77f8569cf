"""A HAProxy of the run's own, from deploy/haproxy.cfg."""

import re
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, Self

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from insula.embedded.process import free_port

CONFIGURATION: Final = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"

_SERVER: Final = re.compile(r"(?m)^(    server (\w+)) \S+:\d+$")


class HAProxy:
    """It listens on free ports, has a certificate of its own, and its servers are ours; the rest is as we deploy it."""

    def __init__(self, folder: Path, servers: Sequence[int], change: Callable[[str], str] = str) -> None:
        self._folder, self._port = folder, free_port()
        self._certificate = folder / "haproxy.pem"
        self._certificate.write_bytes(_certificate())
        self._configuration = folder / "haproxy.cfg"
        self._configuration.write_text(change(self._rendered(CONFIGURATION.read_text(), servers)))

    def _rendered(self, text: str, servers: Sequence[int]) -> str:
        text = re.sub(r"(?m)^    (user|group|stats socket) .*\n", "", text)
        text = text.replace("maxconn 20000", "maxconn 400")  # as many files as any machine has for us
        text = text.replace("bind :80\n", f"bind 127.0.0.1:{free_port()}\n")
        text = text.replace("bind :443 ", f"bind 127.0.0.1:{self._port} ")
        text = text.replace("/etc/haproxy/certs/", str(self._certificate))
        places = iter(servers)
        text = _SERVER.sub(lambda found: f"{found[1]} 127.0.0.1:{next(places)}", text)
        assert next(places, None) is None, "more servers than the file has places for"
        return text

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    @property
    def trust(self) -> ssl.SSLContext:
        """What a client needs to believe its certificate."""
        return ssl.create_default_context(cafile=str(self._certificate))

    @property
    def log(self) -> str:
        return (self._folder / "haproxy.log").read_text()

    def complaints(self) -> str:
        """What `haproxy -c` has to say about the file; nothing, if it is right."""
        checked = subprocess.run(
            ["haproxy", "-q", "-dW", "-c", "-f", self._configuration], capture_output=True, text=True, check=False
        )
        return checked.stderr if checked.returncode else ""

    def __enter__(self) -> Self:
        with (self._folder / "haproxy.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["haproxy", "-db", "-f", self._configuration], stdin=subprocess.DEVNULL, stdout=log, stderr=log
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
        raise RuntimeError(f"nobody answers behind haproxy: {self.log}")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(timeout=10)


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
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(encoding, form, serialization.NoEncryption())
    return certificate.public_bytes(encoding) + secret
