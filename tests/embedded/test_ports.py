"""A port that was free when it was chosen, and is not when it is bound."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from insula.embedded import EmbeddedServerError, EmbeddedValkey, process
from insula.embedded.process import FolderServer, is_free
from insula.server import hold
from tests.embedded.servers import Server


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The next port that is chosen; whoever has it looks as if they gave it back as soon as anybody asks."""
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port, choose = somebody.getsockname()[1], process.free_port
        choices = iter([port])
        monkeypatch.setattr(process, "free_port", lambda: next(choices, 0) or choose())
        monkeypatch.setattr(process, "is_free", lambda _: True)
        yield port


@pytest.mark.parametrize("kind", ["postgres", "valkey"])
def test_a_server_whose_port_was_taken_meanwhile_chooses_another(
    server: Server, tmp_path: Path, taken: int, kind: str
) -> None:
    chosen: FolderServer = server("a folder") if kind == "postgres" else EmbeddedValkey(tmp_path / "valkey")
    with chosen:
        assert chosen.port not in {0, taken}
        assert not is_free(chosen.port)


def test_a_port_that_was_asked_for_is_not_exchanged_for_another(tmp_path: Path, taken: int) -> None:
    with pytest.raises(EmbeddedServerError, match=f"stopped while starting on port {taken}"):
        EmbeddedValkey(tmp_path / "valkey", port=taken).start()


@pytest.mark.parametrize("asked", ["a free one", "that one"])
def test_a_port_that_is_held_is_nobody_elses_and_the_servers_own(asked: str) -> None:
    port = 0 if asked == "a free one" else process.free_port()
    with hold("127.0.0.1", port) as held:
        port = held.getsockname()[1]
        assert not is_free(port)
        for wanted in (port, 0):  # a second one finds another, where any will do
            try:
                with hold("127.0.0.1", wanted) as other:
                    assert other.getsockname()[1] != port
            except OSError:
                assert wanted == port
            else:
                assert wanted == 0
        assert port not in {process.free_port() for _ in range(1000)}
        with listening_as_the_server_does(port) as server, socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()
            assert client.recv(1) == b""
    assert is_free(port)


def listening_as_the_server_does(port: int) -> socket.socket:
    server = socket.socket()
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        server.setsockopt(socket.SOL_SOCKET, option, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    return server


def test_a_port_is_asked_for_without_listening_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that waits for the start would be let in and dropped, and not know whether its request was carried out."""
    port, listened = process.free_port(), []
    monkeypatch.setattr(socket.socket, "listen", lambda *_: listened.append(port), raising=False)
    hold("127.0.0.1", port).close()
    assert listened == []
