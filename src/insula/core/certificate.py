"""The certificate with which API and metrics are served: read and compared with its key before anybody listens."""

import ssl
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography.x509 import load_pem_x509_certificates

from insula.core import clock

_NO_PASSWORD: Final = ""
"""Without one given, OpenSSL would ask a terminal for that of an encrypted key, and wait."""


class Certificate(msgspec.Struct, frozen=True):
    """A chain and its key, as files of PEM; both are read again at the next start and never in between."""

    chain: Path
    key: Path
    ends: datetime

    @property
    def remaining_seconds(self) -> float:
        """Until nobody believes it any more."""
        return (self.ends - clock.now()).total_seconds()

    def context(self) -> ssl.SSLContext:
        """What serves with it: TLS 1.2 or newer (RFC 9325, section 3.1.1)."""
        return _context(self.chain, self.key)


class CertificateUnusable(ValueError):
    """Nobody can be served with these files; the message says why, and tells nothing of the key."""


def certificate_of(chain: str | None, key: str | None) -> Certificate | None:
    """The one that is named, if one is. Raises CertificateUnusable."""
    return read_certificate(chain, key) if chain and key else None


def read_certificate(chain: str, key: str) -> Certificate:
    """The certificate in ``chain``, the server's own first, with its ``key``. Raises CertificateUnusable."""
    try:
        first = load_pem_x509_certificates(Path(chain).read_bytes())[0]
    except OSError as error:
        raise CertificateUnusable(f"cannot read {chain}: {error.strerror}") from error
    except ValueError as error:
        raise CertificateUnusable(f"{chain} holds no certificate in PEM") from error
    try:
        Path(key).read_bytes()
        _context(Path(chain), Path(key))
    except ssl.SSLError as error:
        raise CertificateUnusable(f"{key} holds no unencrypted key in PEM, or not that of {chain}") from error
    except OSError as error:
        raise CertificateUnusable(f"cannot read {key}: {error.strerror}") from error
    found = Certificate(Path(chain), Path(key), first.not_valid_after_utc)
    if found.remaining_seconds <= 0:
        raise CertificateUnusable(f"the one in {chain} ended on {found.ends:%Y-%m-%d at %H:%M} UTC")
    return found


def _context(chain: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(chain, key, lambda: _NO_PASSWORD)
    return context
