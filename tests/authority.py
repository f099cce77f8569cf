"""A certificate authority for tests: what it signs is believed by whoever is given its file, and by nobody else."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SIGNS: Final = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
"""What an authority's key is for (RFC 5280, section 4.2.1.3): Python 3.13 and newer believe none that does not say so."""


class Authority:
    """Signs certificates into a folder; its own is ``file``."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        own = self._signed(self._name, self._key.public_key(), timedelta(days=30))
        certificate = own.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).add_extension(
            SIGNS, critical=True
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def certificate(self, *names: str, lasting: timedelta = timedelta(days=20)) -> tuple[Path, Path]:
        """A certificate for these host names and addresses, and its key; both as files of PEM."""
        key, subject = ec.generate_private_key(ec.SECP256R1()), [x509.NameAttribute(NameOID.COMMON_NAME, names[0])]
        made = self._signed(x509.Name(subject), key.public_key(), lasting).add_extension(
            x509.SubjectAlternativeName([_name(each) for each in names]), critical=False
        )
        chain, secret = (self._folder / f"{self._name.rfc4514_string()}-{names[0]}.{end}" for end in ("crt", "key"))
        chain.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        secret.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
        secret.chmod(0o600)
        return chain, secret

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, lasting: timedelta
    ) -> x509.CertificateBuilder:
        now, key_of_ours = datetime.now(UTC), self._key.public_key()
        return (
            x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + lasting)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key_of_ours), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)
