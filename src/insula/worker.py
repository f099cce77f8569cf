"""The worker: runs the jobs of every feature, hands out those that are due, and keeps house."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final
from wsgiref.simple_server import WSGIServer

import structlog
from redis.asyncio import Redis

from insula.core.cache import verifying
from insula.core.catalogue import require_proven
from insula.core.certificate import certificate_of
from insula.core.db import Database
from insula.core.feature import Feature, queues_of
from insula.core.gauges import Gauges
from insula.core.jobs import Schedule, Services
from insula.core.keyring import Keyring
from insula.core.mail import Mailer
from insula.core.mail import Relay as MailRelay
from insula.core.metrics import Lacks, serve_metrics
from insula.core.pace import Pace
from insula.core.queue import Queue, Worker
from insula.core.readiness import Readiness, knocking, pinging
from insula.core.relay import Caps, Relay
from insula.core.runner import Runner
from insula.core.tracing import TRACES
from insula.core.upkeep import Chore, Upkeep, event_retention
from insula.core.vault import Vault
from insula.garbage import collect
from insula.product import FEATURES
from insula.schema import RELEASE, require_migrated
from insula.settings import Settings, SettingsError
from insula.unencrypted import TRUSTED

_STOP: Final = (signal.SIGTERM, signal.SIGINT)
_ANSWER_SECONDS: Final = 5.0
"""More than the longest wait for a job, less than anybody's patience with a Redis that has stopped answering."""

_RELAY_SECONDS: Final = 2.0
"""How long the relays may take to put down what they are at."""

_log = structlog.get_logger("insula.worker")


class WorkerProcess:
    """One process that runs jobs. Any number may run; they share the work and the housekeeping."""

    def __init__(self, settings: Settings, features: Sequence[Feature]) -> None:
        self._settings = settings
        concurrency, lease = settings.worker_concurrency, float(settings.job_lease_seconds)
        self._database = _database(settings.database_url, settings, connections=concurrency)
        self._platform = _database(settings.platform_database_url, settings, connections=2)
        address = settings.jobs_redis_url or settings.redis_url
        self._redis = verifying(Redis.from_url(address, socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=1))
        handlers = {task: handler for feature in features for task, handler in feature.handlers.items()}
        rounds: list[Schedule | Chore] = [schedule for feature in features for schedule in feature.schedules]
        if settings.event_retention_days is not None:
            rounds.append(event_retention(settings.event_retention_days))
        known = queues_of(features)
        queue = Queue(self._redis, served(settings.worker_queues, known))
        keyring = Keyring()
        self._vault = Vault(self._platform, settings.masters, keyring)
        runner = Runner(self._database, handlers, services(settings, keyring), lease)
        self._worker = Worker(queue, runner, concurrency=concurrency, drain_seconds=settings.drain_seconds)
        pace = Pace(settings.rate_jobs_per_minute)
        caps = Caps(settings.relay_in_flight, concurrency, pace)
        self._relays = [Relay(self._platform, queue, name, caps, lease_seconds=lease) for name in queue.served]
        gauges = Gauges(self._platform, pace, queue.served, known, [task.NAME for task in handlers])
        self._upkeep = Upkeep(self._platform, queue, rounds, gauges, lease_seconds=lease)
        self._served = queue.served
        self._readiness = Readiness({"database": knocking(self._platform), "Redis": pinging(self._redis)})

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT, then finish what is under way."""
        collect()
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        if self._settings.trusted_network:
            _log.warning(TRUSTED)
        for number in _STOP:
            loop.add_signal_handler(number, stopping.set)
        try:
            with TRACES.going_to(self._settings.traces_url, self._settings.traces_share, "worker"):
                await self.serve(stopping)
        finally:
            for number in _STOP:
                loop.remove_signal_handler(number)

    async def serve(self, stopping: asyncio.Event) -> None:
        """Work until ``stopping``, then take nothing new and let running jobs finish for ``drain_seconds``."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._redis.aclose)
            for database in (self._database, self._platform):
                await database.open()
                stack.push_async_callback(database.close)
            await require_migrated(self._database)
            await require_proven(self._database, RELEASE)
            await stack.enter_async_context(self._vault.watched())
            if self._settings.metrics_port:
                exporter = _exporter(self._settings, self._readiness.lacks)
                stack.callback(exporter.server_close)
                stack.callback(exporter.shutdown)
            loop = type(asyncio.get_running_loop()).__module__
            _log.info("worker started", concurrency=self._worker.concurrency, queues=self._served, loop=loop)
            async with asyncio.TaskGroup() as tasks:
                relays = [tasks.create_task(relay.run(stopping)) for relay in self._relays]
                tasks.create_task(self._upkeep.run(stopping))
                tasks.create_task(self._worker.start())
                await stopping.wait()
                self._readiness.draining = True
                _log.info("worker stopping")
                # First: what they handed out behind the worker's back, nobody here would take.
                await asyncio.wait(relays, timeout=_RELAY_SECONDS)
                await self._worker.stop()
            _log.info("worker stopped")


def create_worker(settings: Settings, features: Sequence[Feature] = FEATURES) -> WorkerProcess:
    """The worker of these features.

    Raises ValueError where two tasks or schedules share a name, SettingsError where it is to serve a queue that none of
    the tasks names.
    """
    return WorkerProcess(settings, features)


def served(wanted: str | None, known: Sequence[str]) -> Sequence[str]:
    """The queues that a worker takes jobs of, as its setting names them. Raises SettingsError."""
    if wanted is None:
        return known
    names = list(dict.fromkeys(name.strip() for name in wanted.split(",")))
    if strange := [name for name in names if name not in known]:
        raise SettingsError(
            f"INSULA_WORKER_QUEUES: {', '.join(map(repr, strange))}: no task names it; {', '.join(known)} are there"
        )
    return names


def services(settings: Settings, keyring: Keyring) -> Services:
    """What the handlers work with. Raises SettingsError for half a login to mail, which only workers need."""
    if settings.smtp_username is not None and settings.smtp_password is None:
        raise SettingsError("INSULA_SMTP_PASSWORD is needed: INSULA_SMTP_USERNAME is set")
    mail = MailRelay(
        host=settings.smtp_host,
        port=settings.smtp_port,
        username=settings.smtp_username or "",
        password=settings.smtp_password or "",
        tls=settings.smtp_tls,
    )
    mailer = Mailer(mail, sender=settings.mail_from, sender_name=settings.mail_from_name, base_url=settings.base_url)
    return Services(mailer=mailer, keyring=keyring)


def _exporter(settings: Settings, lacks: Lacks) -> WSGIServer:
    loop = asyncio.get_running_loop()
    certificate = certificate_of(settings.tls_certificate_file, settings.tls_key_file)
    return serve_metrics(settings.metrics_port, settings.metrics_host, loop, lacks, certificate)


def _database(url: str, settings: Settings, *, connections: int) -> Database:
    return Database(url, pool_size=connections, old_pgbouncer=settings.pgbouncer)
