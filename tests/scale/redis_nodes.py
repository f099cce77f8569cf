"""Three Redis nodes, three sentinels and the proxy in front of them, from the files in k8s/components/redis."""

import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from insula.embedded.process import free_port
from insula.embedded.valkey import find_binary

_FILES: Final = Path(__file__).parents[2] / "k8s" / "components" / "redis"
_SETTING: Final = re.compile(r'(?m)^ +echo "([^"]+)"')
_SERVER: Final = re.compile(r"(?m)^(    server node\d) \S+$")
_NODES: Final = 3
_ONCE: Final[dict[str, Any]] = {
    "socket_timeout": 1.0,
    "socket_connect_timeout": 1.0,
    "retry": Retry(NoBackoff(), 0),  # who is not there is asked again later
}


class Program:
    """One program that can be killed and starts again with the same files on the same port."""

    def __init__(self, command: Callable[[], Sequence[str | Path]], log: Path) -> None:
        self._command, self._log = command, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def end(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class RedisNodes:
    """The program's Redis: one address that leads to whichever node is the master."""

    def __init__(self, folder: Path) -> None:
        binary = find_binary()
        assert binary is not None, "there is no Valkey or Redis"
        self._binary, self._word = binary, secrets.token_hex(16)
        self._folder, self._first = folder, 0
        self._node_ports = [free_port() for _ in range(_NODES)]
        self._sentinel_ports = [free_port() for _ in range(_NODES)]
        self._port = free_port()
        self.nodes = [Program(lambda n=n: self._node(n), folder / f"node{n}.log") for n in range(_NODES)]
        self.sentinels = [Program(lambda n=n: self._sentinel(n), folder / f"sentinel{n}.log") for n in range(_NODES)]
        self.proxy = Program(self._haproxy, folder / "redis-proxy.log")

    @property
    def url(self) -> str:
        """Of the proxy."""
        return f"redis://:{self._word}@127.0.0.1:{self._port}/0"

    def start(self) -> None:
        for program in (*self.nodes, *self.sentinels, self.proxy):
            program.start()

    def stop(self) -> None:
        for program in (self.proxy, *self.sentinels, *self.nodes):
            program.end()

    @property
    def master(self) -> Program:
        """The node that takes writes now."""
        return self.nodes[self._node_ports.index(self._master())]

    def whole(self) -> bool:
        """Whether a master with both of its replicas answers at the address, and the sentinels could replace it."""
        try:
            with redis.Redis.from_url(self.url, **_ONCE) as client:
                replicas = client.info("replication")["connected_slaves"]
            with self._asked(self._sentinel_ports[0]) as sentinel:
                sentinel.execute_command("SENTINEL CKQUORUM insula")
        except redis.RedisError:
            return False
        return bool(replicas == _NODES - 1)

    def failovers(self) -> int:
        """How often the sentinels have made another node the master."""
        with self._asked(self._sentinel_ports[1]) as sentinel:
            known: dict[str, Any] = sentinel.sentinel_master("insula")
        return int(known["config-epoch"])

    def _master(self) -> int:
        """The port of the master as most sentinels know it; before there are any, the first node's."""
        said = []
        for port in self._sentinel_ports:
            try:
                with self._asked(port) as sentinel:
                    said.append(int(sentinel.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME insula")[1]))
            except redis.RedisError:
                continue
        return max(said, key=said.count) if said else self._node_ports[0]

    def _asked(self, port: int) -> redis.Redis:
        return redis.Redis(port=port, decode_responses=True, **_ONCE)

    def _node(self, number: int) -> Sequence[str | Path]:
        port, master = self._node_ports[number], self._master()
        data = self._folder / f"node{number}"
        data.mkdir(exist_ok=True)
        lines = self._settings("node.sh", {"/data": str(data), "$me": "127.0.0.1"})
        lines += [f"port {port}", "bind 127.0.0.1"]
        if master != port:
            lines.append(f"replicaof 127.0.0.1 {master}")
        file = self._folder / f"node{number}.conf"
        file.write_text("\n".join(lines))
        return [self._binary, file]

    def _sentinel(self, number: int) -> Sequence[str | Path]:
        """Its file is made once: it writes what it learns there."""
        file, port = self._folder / f"sentinel{number}.conf", self._sentinel_ports[number]
        if not file.exists():
            here = {"$HOSTNAME.$nodes": "127.0.0.1", "insula-redis-0.$nodes 6379": f"127.0.0.1 {self._node_ports[0]}"}
            lines = self._settings("sentinel.sh", here | {"port 26379": f"port {port}", "/tmp": str(self._folder)})
            file.write_text("\n".join([*lines, "bind 127.0.0.1"]))
        return [self._binary, file, "--sentinel"]

    def _settings(self, script: str, here: Mapping[str, str]) -> list[str]:
        """What a script of ours puts into a file, with what is different on one machine."""
        lines = "\n".join(_SETTING.findall((_FILES / script).read_text()))
        for theirs, ours in {**here, "$word": self._word}.items():
            assert theirs in lines, f"{script} does not say {theirs}"
            lines = lines.replace(theirs, ours)
        assert "$" not in lines, lines
        return lines.split("\n")

    def _haproxy(self) -> Sequence[str | Path]:
        text = (_FILES / "haproxy.cfg").read_text()
        ports = iter(self._node_ports)
        text = _SERVER.sub(lambda found: f"{found[1]} 127.0.0.1:{next(ports)}", text)
        assert next(ports, None) is None, "fewer nodes in the file than there are"
        text = re.sub(r"(?m)^resolvers cluster\n(?:    .*\n)+", "", text).replace(
            " resolvers cluster init-addr none", ""
        )
        # The wheel's server was built without TLS.
        text, encrypted = re.subn(r" check-ssl verify required ca-file \S+ verifyhost \S+", "", text)
        assert encrypted == 1, "the proxy's own questions are not encrypted"
        text = text.replace("maxconn 4000", "maxconn 400")  # as many files as any machine has for us
        text = text.replace("bind :6379", f"bind 127.0.0.1:{self._port}").replace(
            "bind :8404", f"bind 127.0.0.1:{free_port()}"
        )
        file = self._folder / "redis-proxy.cfg"
        file.write_text(text)
        haproxy = shutil.which("haproxy")
        assert haproxy is not None, "haproxy is not installed"
        return [haproxy, "-db", "-f", file]
