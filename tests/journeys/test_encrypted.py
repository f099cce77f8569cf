"""API, worker, PostgreSQL and Redis speak TLS to each other, and believe the one authority that they are told of."""

import asyncio
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from insula.core.cache import connect, verifying
from insula.embedded import EmbeddedPostgres, EmbeddedValkey
from insula.provision import LOGINS, migrate, provision
from insula.settings import Settings
from tests.authority import Authority
from tests.factories import World, settings_for
from tests.journeys.test_processes import Process, environment, free_port, started

__all__ = ["started"]

HERE = "127.0.0.1"
SERVERS = list(Path("/usr/lib/postgresql").glob("*/bin"))
"""Debian's: the wheel's was built without TLS."""

pytestmark = [pytest.mark.peers, pytest.mark.skipif(not SERVERS, reason="Debian's postgresql is not installed")]


class Inside(msgspec.Struct):
    """Servers that speak TLS, and the settings with which the program finds them."""

    settings: Settings
    authority: Authority
    stranger: Authority
    """Another one, that signed nothing."""
    admin: str

    def changed(self, ours: str, other: str) -> Settings:
        """With another word in all addresses."""
        fields = {name: value for name, value in msgspec.structs.asdict(self.settings).items() if "_url" in name}
        changes = {name: value.replace(ours, other) for name, value in fields.items() if value}
        return msgspec.structs.replace(self.settings, **changes)


@pytest.fixture(scope="module")
async def inside(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Inside]:
    folder = tmp_path_factory.mktemp("inside")
    (folder / "signed").mkdir()
    authority, stranger = Authority(folder / "signed"), Authority(folder / "signed", "stranger")
    server, api = authority.certificate(HERE), authority.certificate("localhost", HERE)
    binaries = max(SERVERS, key=lambda path: int(path.parent.name))
    database = EmbeddedPostgres(folder / "postgres", binaries=binaries)
    with database as postgres, EmbeddedValkey(folder / "valkey") as valkey:
        await encrypt(postgres, server)
        front = await encrypted(valkey, server)
        port = front.sockets[0].getsockname()[1]
        await provision(postgres.dsn(), "insula", dict.fromkeys(LOGINS, "word"))

        def address(login: str) -> str:
            asked = f"sslmode=verify-full&sslrootcert={authority.file}"
            return f"postgresql://{login}:word@{HERE}:{postgres.port}/insula?{asked}"

        await migrate(address("app_migrator"))
        settings = settings_for(
            environment="production",
            base_url="https://app.example.com",
            smtp_tls="starttls",
            database_url=address("app_rw"),
            identity_database_url=address("app_identity"),
            platform_database_url=address("app_platform"),
            owner_database_url=address("app_migrator"),
            redis_url=valkey.url.replace("redis://", "rediss://").replace(str(valkey.port), str(port))
            + f"?ssl_ca_certs={authority.file}",
            tls_certificate_file=str(api[0]),
            tls_key_file=str(api[1]),
            host="0.0.0.0",
            metrics_host="0.0.0.0",
        )
        yield Inside(settings, authority, stranger, postgres.dsn("insula"))
        front.close()


async def encrypt(postgres: EmbeddedPostgres, files: tuple[Path, Path]) -> None:
    """From now on it serves with this certificate, and nobody but the superuser in the clear."""
    owner = postgres.data.stat()
    for file, name in zip(files, ("server.crt", "server.key"), strict=True):
        place = postgres.data / name
        shutil.copy(file, place)
        place.chmod(0o600)
        os.chown(place, owner.st_uid, owner.st_gid)
    rules = postgres.data / "pg_hba.conf"
    rules.write_text("hostssl all all all scram-sha-256\nhost all postgres all scram-sha-256\n")
    admin = await asyncpg.connect(postgres.dsn())
    await admin.execute("ALTER SYSTEM SET ssl = on")
    await admin.execute("SELECT pg_reload_conf()")
    while await admin.fetchval("SHOW ssl") != "on":
        await asyncio.sleep(0.05)
    await admin.close()


async def encrypted(valkey: EmbeddedValkey, files: tuple[Path, Path]) -> asyncio.Server:
    """A port that speaks TLS before a Valkey: the wheel's was built without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inward, outward = await asyncio.open_connection(HERE, valkey.port)
        await asyncio.gather(pass_on(reader, outward), pass_on(inward, writer))

    return await asyncio.start_server(serve, HERE, 0, ssl=context)


@asynccontextmanager
async def running(
    inside: Inside, started: list[Process], folder: Path, **changes: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, int]]:
    """An API and a worker; a client that believes the authority, and the port of the worker's metrics."""
    port, metrics = free_port(), free_port()
    given = environment(inside.settings, port=port, **changes)
    started.append(Process("api", given, folder / "api.log"))
    given = environment(inside.settings, port=port, metrics_port=metrics, **changes)
    started.append(Process("worker", given, folder / "worker.log"))
    trust = ssl.create_default_context(cafile=inside.authority.file)
    async with httpx.AsyncClient(base_url=f"https://{HERE}:{port}", verify=trust, timeout=10) as client:
        for _ in range(400):
            try:
                if (await client.get("/readyz")).status_code == 200:
                    break
            except httpx.TransportError:
                await asyncio.sleep(0.05)
        await asyncio.to_thread(started[-1].until, "worker started")
        yield client, metrics


async def test_every_connection_inside_is_encrypted(inside: Inside, started: list[Process], tmp_path: Path) -> None:
    admin = await asyncpg.connect(inside.admin)
    async with running(inside, started, tmp_path) as (client, metrics):
        owner = await World(None, inside.settings, admin).owner()
        headers = {"authorization": f"Bearer {owner.person.token}"}
        assert (await client.get(owner.url("/projects"), headers=headers)).status_code == 200
        assert "tls_certificate_remaining_seconds" in (await client.get(f"https://{HERE}:{metrics}/metrics")).text
        assert (await client.get(f"https://{HERE}:{metrics}/livez")).status_code == 200
        sessions = await admin.fetch(
            "SELECT usename, ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename LIKE 'app%'"
        )
        assert {name for name, _ in sessions} == {"app_rw", "app_identity", "app_platform"}
        assert {encrypted for _, encrypted in sessions} == {True}
        for url in (str(client.base_url), f"https://{HERE}:{metrics}/metrics"):
            async with httpx.AsyncClient() as plain:
                with pytest.raises(httpx.TransportError):
                    await plain.get(url.replace("https:", "http:"))
            async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=inside.stranger.file)) as doubting:
                with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await doubting.get(url)
        for process in started:  # with connections open to it
            process.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.process.wait, 40) == 0, process.log.read_text()
    assert '"api stopped"' in started[0].log.read_text()
    assert "panicked" not in started[0].log.read_text()
    assert "limits are counted per process" not in started[0].log.read_text()
    assert "is trusted" not in started[0].log.read_text()
    await admin.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_no_version_before_1_2_is_spoken_inside(inside: Inside, started: list[Process], tmp_path: Path) -> None:
    def version(port: int | None, highest: ssl.TLSVersion) -> str | None:
        context = ssl.create_default_context(cafile=inside.authority.file)
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, highest
        plain = socket.create_connection((HERE, port), timeout=5)
        with plain, context.wrap_socket(plain, server_hostname=HERE) as secured:
            return secured.version()

    async with running(inside, started, tmp_path) as (client, metrics):
        for port in (client.base_url.port, metrics):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.to_thread(version, port, ssl.TLSVersion.TLSv1_1)
            assert await asyncio.to_thread(version, port, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
            assert await asyncio.to_thread(version, port, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"


async def test_a_database_that_another_authority_vouches_for_is_not_spoken_to(
    inside: Inside, started: list[Process], tmp_path: Path
) -> None:
    other = inside.changed(str(inside.authority.file), str(inside.stranger.file))
    process = Process("api", environment(other, port=free_port()), tmp_path / "api.log")
    started.append(process)
    assert await asyncio.to_thread(process.process.wait, 40) == 1
    assert "certificate verify failed" in process.log.read_text().lower()


async def test_a_database_of_another_name_is_not_spoken_to(
    inside: Inside, started: list[Process], tmp_path: Path
) -> None:
    other = inside.changed(f"@{HERE}", "@localhost")
    process = Process("api", environment(other, port=free_port()), tmp_path / "api.log")
    started.append(process)
    assert await asyncio.to_thread(process.process.wait, 40) == 1
    assert "hostname mismatch" in process.log.read_text().lower()


async def test_redis_is_believed_by_the_authority_of_its_address_alone(inside: Inside) -> None:
    ours, url = str(inside.authority.file), inside.settings.redis_url
    for address in (
        url.replace(ours, str(inside.stranger.file)),
        url.partition("?")[0],
        url.replace(HERE, "localhost"),
    ):
        async with connect(address) as redis:
            with pytest.raises((RedisError, OSError), match=r"(?i)certificate"):
                await redis.ping()
    async with connect(url) as redis, verifying(Redis.from_url(url)) as waiting:
        assert await redis.ping()
        assert await waiting.ping()


async def test_redis_is_not_believed_by_the_systems_authorities_where_one_is_named(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = inside.settings.redis_url.replace(str(inside.authority.file), str(inside.stranger.file))
    monkeypatch.setenv("SSL_CERT_FILE", str(inside.authority.file))  # as if the system had it
    async with connect(url.partition("?")[0]) as redis:
        assert await redis.ping()
    for client in (connect(url), verifying(Redis.from_url(url))):
        async with client as redis:
            with pytest.raises((RedisError, OSError), match=r"(?i)certificate"):
                await redis.ping()


def test_doctor_tells_of_the_certificate_and_of_a_trusted_network(inside: Inside) -> None:
    chain, key = inside.authority.certificate("ending.internal", lasting=timedelta(days=3))
    for changes, said in (
        ({}, f"well   the certificate in {inside.settings.tls_certificate_file}"),
        (
            {"tls_certificate_file": str(chain), "tls_key_file": str(key)},
            f"wrong  the certificate in {chain}: it ends on",
        ),
        ({"tls_key_file": str(key)}, "INSULA_TLS_CERTIFICATE_FILE, INSULA_TLS_KEY_FILE: "),
        ({"trusted_network": True}, "well   INSULA_TRUSTED_NETWORK: the network between the parts is trusted"),
    ):
        doctor = [sys.executable, "-P", "-m", "insula", "doctor"]
        done = subprocess.run(doctor, env=environment(inside.settings, **changes), capture_output=True, text=True)
        assert said in done.stdout, done.stdout


async def test_a_trusted_network_is_told_at_the_start(inside: Inside, started: list[Process], tmp_path: Path) -> None:
    async with running(inside, started, tmp_path, trusted_network=True):
        pass
    for process in started:
        assert "the network between the parts is trusted" in process.log.read_text()
