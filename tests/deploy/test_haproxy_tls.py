"""Which versions and suites of TLS HAProxy speaks: authenticated encryption under keys of the session's own, or nothing."""

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from insula.embedded.process import free_port
from tests.deploy.proxies import HAProxy
from tests.deploy.test_haproxy_retries import Dying

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HAProxy]:
    with Dying([]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ports = [server.server_address[1], free_port(), free_port()]
        with HAProxy(tmp_path_factory.mktemp("haproxy"), ports) as running:
            yield running
        server.shutdown()


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"])
def test_a_client_of_tls_1_2_is_served_with_a_recommended_suite(proxy: HAProxy, suite: str) -> None:
    assert shaken(proxy, suite, ssl.TLSVersion.TLSv1_2) == ("TLSv1.2", suite)


def test_the_newest_version_is_preferred(proxy: HAProxy) -> None:
    version, suite = shaken(proxy, "DEFAULT", ssl.TLSVersion.TLSv1_3)
    assert version == "TLSv1.3"
    assert suite.startswith("TLS_")


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES256-CCM8"])
def test_a_client_that_knows_weaker_suites_only_is_refused(proxy: HAProxy, suite: str) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        shaken(proxy, suite, ssl.TLSVersion.TLSv1_2)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_client_of_tls_1_1_is_refused(proxy: HAProxy) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        shaken(proxy, "DEFAULT@SECLEVEL=0", ssl.TLSVersion.TLSv1_1)


def shaken(proxy: HAProxy, suites: str, highest: ssl.TLSVersion) -> tuple[str, str]:
    """The version and the suite that a client with these gets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers(suites)
    context.minimum_version = min(highest, ssl.TLSVersion.TLSv1_2)
    context.maximum_version = highest
    address = urlsplit(proxy.url)
    plain = socket.create_connection((address.hostname, address.port), timeout=10)
    with plain, context.wrap_socket(plain) as secured:
        return str(secured.version()), str((secured.cipher() or [""])[0])
