"""What API and metrics are served with: whatever is wrong with the files is named before anybody listens."""

import socket
import ssl
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from insula.core import metrics
from insula.core.certificate import CertificateUnusable, read_certificate
from tests.authority import Authority
from tests.core.test_settings import complaints

Files = tuple[Path, Path]


def encrypted(files: Files) -> None:
    key = serialization.load_pem_private_key(files[1].read_bytes(), None)
    password = serialization.BestAvailableEncryption(b"word")
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, password))


def anothers(files: Files) -> None:
    files[1].write_bytes(Authority(files[0].parent, "another").certificate("api.internal")[1].read_bytes())


WRONG: dict[str, tuple[Callable[[Files], object], str]] = {
    "no chain": (lambda files: files[0].unlink(), "cannot read .*crt: No such file"),
    "no key": (lambda files: files[1].unlink(), "cannot read .*key: No such file"),
    "a chain that is none": (lambda files: files[0].write_text("words"), "crt holds no certificate in PEM"),
    "a key that is none": (lambda files: files[1].write_text("words"), "key holds no unencrypted key in PEM"),
    "a key with a password": (encrypted, "key holds no unencrypted key in PEM"),
    "another's key": (anothers, "or not that of .*crt"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_files_are_named_with_the_settings(wrong: str, tmp_path: Path) -> None:
    files = Authority(tmp_path).certificate("api.internal")
    plant, said = WRONG[wrong]
    read_certificate(*map(str, files))
    plant(files)
    with pytest.raises(CertificateUnusable, match=said) as refused:
        read_certificate(*map(str, files))
    told = complaints(tls_certificate_file=str(files[0]), tls_key_file=str(files[1]))
    assert told == f"INSULA_TLS_CERTIFICATE_FILE, INSULA_TLS_KEY_FILE: {refused.value}"


def test_a_certificate_that_ended_is_named(tmp_path: Path) -> None:
    chain, key = Authority(tmp_path).certificate("api.internal", lasting=timedelta(minutes=-1))
    assert "ended on 20" in complaints(tls_certificate_file=str(chain), tls_key_file=str(key))


@pytest.mark.parametrize(("given", "missing"), [("tls_certificate_file", "KEY"), ("tls_key_file", "CERTIFICATE")])
def test_neither_file_is_enough(given: str, missing: str) -> None:
    assert f"INSULA_TLS_{missing}_FILE is needed" in complaints(**{given: "/somewhere"})


def test_the_metrics_are_served_with_it_and_tell_how_long_it_is_good_for(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = read_certificate(*map(str, authority.certificate("127.0.0.1")))
    server = metrics.serve_metrics(0, certificate=certificate)
    try:
        with ExitStack() as silent:  # whoever says nothing keeps nobody out
            for _ in range(metrics.MOST_CONNECTIONS + 8):
                silent.enter_context(socket.create_connection(("127.0.0.1", server.server_port)))
            trust = ssl.create_default_context(cafile=authority.file)
            with urllib.request.urlopen(
                f"https://127.0.0.1:{server.server_port}/metrics", context=trust, timeout=5
            ) as answer:
                text = answer.read().decode()
        with pytest.raises(OSError, match=r"(?i)reset|without response|closed"):
            urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=5)
    finally:
        server.shutdown()
        server.server_close()
        metrics.TLS_REMAINING.set_function(lambda: float("inf"))
    (line,) = [line for line in text.splitlines() if line.startswith("tls_certificate_remaining_seconds ")]
    assert 0 < timedelta(days=20).total_seconds() - float(line.split()[1]) < 60


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_the_metrics_speak_no_tls_1_1(tmp_path: Path) -> None:
    certificate = read_certificate(*map(str, Authority(tmp_path).certificate("127.0.0.1")))
    assert certificate.context().minimum_version is ssl.TLSVersion.TLSv1_2
