"""The program's configuration: INSULA_* variables, or files named by INSULA_*_FILE, as typed values."""

import os
from base64 import b64decode
from collections.abc import Collection, Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from insula.core.masters import CommandMaster, Master, SecretMaster
from insula.core.mendable import Mendable
from insula.environment import MISSING, values_of
from insula.unsafe import LOGINS, PREFIX, unsafe

_MASTERS: Final = frozenset({"secret_key", "kms_command"})
"""One of them is needed."""
_OPENING: Final = ("kms_command", "secret_key", "secret_key_previous")
"""What opens the program's keys."""
_SURROUNDINGS: Final = ("environment", "trusted_network")
"""What decides how an address may be reached."""
_PLACES: Final = (
    *("identity_database_url", "replica_database_url", "owner_database_url", "admin_database_url"),
    *("jobs_redis_url", "secret_key_previous"),
)
"""Beside what is needed: who sets one of them means an installation of their own."""

Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
"""No more than Redis and PostgreSQL count to without a second thought."""
Few = Annotated[int, Meta(ge=1, le=1024)]
"""Of what one process holds open at a time."""
Hours = Annotated[int, Meta(ge=1, le=8_760)]
"""A year, at most: the moment when it is over must be one."""
LogLevel = Literal["debug", "info", "warning", "error"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that differs between installations. A docstring under a field is its documentation."""

    environment: Literal["embedded", "production"] = "production"
    """`embedded` is what `insula up` sets for itself; it alone accepts plain HTTP addresses and unencrypted mail."""
    trusted_network: bool = False
    """Set where nobody else is on the network between the parts: connections to other machines may be unencrypted."""
    secret_key: str | None = None
    """The master key: at least 32 random bytes in base64. It wraps the keys that the database keeps for the program;
    needed unless INSULA_KMS_COMMAND is set."""
    secret_key_previous: str | None = None
    """The master key of before, while `insula rotate master-key` has not been run with the new one."""
    kms_command: str | None = None
    """A program that asks a key management service, in place of INSULA_SECRET_KEY: called with `wrap` or `unwrap` and
    what the key is for, it reads base64 from its input and writes base64."""
    database_url: str
    """PostgreSQL as app_rw: the API and the workers."""
    identity_database_url: str | None = None
    """PostgreSQL as app_identity: sign-up, sign-in, reset. `insula worker` alone goes without it."""
    platform_database_url: str
    """PostgreSQL as app_platform: relay, sweeps, operators."""
    replica_database_url: str | None = None
    """A standby, as app_rw: lists and look-ups that may be five seconds old are read there. Without one, or while it is
    away or behind, the primary answers them."""
    owner_database_url: str | None = None
    """PostgreSQL as app_migrator, direct (no pooler); `insula migrate` needs it and nothing else, `seed` too."""
    admin_database_url: str | None = None
    """PostgreSQL as a superuser, direct; only `insula provision` needs it."""
    redis_url: str
    """Redis or Valkey: rate limits, and the job queue where that has none of its own."""
    jobs_redis_url: str | None = None
    """Another Redis or Valkey for the job queue, where one is not enough for both. It may change at any time: jobs that
    went to the other one are handed out again when their leases end."""
    pgbouncer: bool = False
    """Set when the database URLs lead through PgBouncer older than 1.21 in transaction mode."""
    pool_size: Few = 8
    """Connections per login and process."""

    host: str = "127.0.0.1"
    """Where the API listens."""
    port: Port = 8000
    """Where the API listens."""
    metrics_host: str = "127.0.0.1"
    """Where the metrics listen."""
    metrics_port: Port = 9464
    """Prometheus metrics, and `/livez` for whoever restarts a stuck process; 0 switches both off."""
    tls_certificate_file: str | None = None
    """With INSULA_TLS_KEY_FILE: the API and the metrics are served over TLS. PEM, the chain after the server's own."""
    tls_key_file: str | None = None
    """The key of the certificate, PEM. Both files are read at the start."""
    base_url: str
    """The public address of the product: mailed links start with it, and cookies are accepted from its origin."""
    trusted_proxies: Annotated[int, Meta(ge=0, le=10)] = 0
    """How many proxies of yours stand in front: X-Forwarded-For is believed for that many hops."""
    request_max_bytes: Annotated[int, Meta(ge=1, le=67_108_864)] = 65_536
    """A larger request body is refused with 413. No route of ours needs half of it."""
    drain_seconds: Annotated[int, Meta(ge=0, le=86_400)] = 25
    """How long requests and jobs under way may take to finish after SIGTERM."""

    session_idle_hours: Hours = 168
    """A session unused for so long ends."""
    session_max_hours: Hours = 720
    """A session ends after so long, however much it is used."""
    sessions_per_user: Annotated[int, Meta(ge=1, le=1000)] = 100
    """One more ends the oldest. A person ends all of them at once, and their record tells of each: of 1,000 at most."""
    password_min_length: Annotated[int, Meta(ge=8, le=64)] = 15
    """NIST SP 800-63B-4: 15 where the password is the only factor."""
    argon2_parallel: Few = 1
    """Passwords hashed at the same time, each on a core of its own beside the one that serves; more wait, and many more
    are answered 429."""
    invitation_days: Annotated[int, Meta(ge=1, le=90)] = 7
    """How long an invitation stays open."""
    organization_restore_days: Annotated[int, Meta(ge=1, le=365)] = 30
    """How long a deleted organization can be restored."""

    event_retention_days: Annotated[int, Meta(ge=90, le=36_500)] | None = None
    """How long what happened in organizations is kept, in whole months: a month goes when all of it is older. Unset,
    forever. What happened to a person's account is kept for 400 days.
    """

    rate_per_minute: Count = 600
    """Requests of one person, all sessions together, to each organization; and as many outside of them (/v1/me)."""
    rate_organization_per_minute: Count = 3000
    """Requests of one organization, all its credentials together."""
    rate_jobs_per_minute: Count = 3000
    """Jobs of one organization that a worker process hands out; what is more waits."""
    rate_anonymous_per_minute: Count = 120
    """Requests of one IP address without a credential."""
    rate_sign_in_per_minute: Count = 10
    """Tries of one IP address at signing in and up, at verifications, resets and invitations, all together: an office
    behind one NAT shares them. A quarter of it while Redis is away."""
    limit_members: Annotated[int, Meta(ge=1, le=100_000)] = 10_000
    """Members of one organization."""
    limit_projects: Count = 10_000
    """Projects of one organization; as many deleted ones, a thousand at least, may wait to be restored."""
    limit_teams: Count = 1000
    """Teams of one organization, and deleted ones likewise."""
    limit_invitations_per_day: Count = 500
    """Invitation e-mails one organization may send in a day, and one person in all of theirs."""

    smtp_host: str
    """The mail server."""
    smtp_port: Port = 587
    """The mail server."""
    smtp_username: str | None = None
    """For the mail server."""
    smtp_password: str | None = None
    """For the mail server."""
    smtp_tls: Literal["none", "starttls", "tls"] = "starttls"
    """How the connection to the mail server is protected."""
    mail_from: str
    """The sender of all mail, as an address."""
    mail_from_name: str = "Insula"
    """The sender of all mail, as people see it."""

    worker_concurrency: Few = 10
    """Jobs one worker process runs at a time."""
    worker_queues: str | None = None
    """The queues whose jobs this worker process runs, with commas between them. Unset, all that the program's tasks
    name: each must be served by some worker, and `insula doctor` says which there are."""
    relay_in_flight: Count = 200
    """Jobs of a queue handed out and not finished, all its workers together."""
    job_lease_seconds: Annotated[int, Meta(ge=5, le=86_400)] = 60
    """A job not finished for so long is given to another worker. The same for all workers, whatever they serve."""
    traces_url: str | None = None
    """Where OpenTelemetry spans go: an OTLP collector over HTTP, as in ``http://collector:4318/v1/traces``."""
    traces_share: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """Which share of traces is sent: 0.01 is one in a hundred."""
    log_level: LogLevel = "info"
    """The least severe log line written."""
    log_json: bool = True
    """One JSON object per line; false is for people."""

    @property
    def masters(self) -> tuple[Master, ...]:
        """What wraps the program's keys, and unwraps what it has wrapped; `insula rotate master-key` asks the first."""
        return _masters(self.kms_command, self.secret_key, self.secret_key_previous)


class SettingsError(Mendable):
    """The environment is not usable; the message names each variable and says what is wrong with it."""


def load(environment: Mapping[str, str] | None = None, also: Collection[str] = ()) -> Settings:
    """Read the settings, or raise SettingsError naming every wrong, missing and unknown variable.

    ``also`` are optional ones that the command at hand needs: whoever lacks several is told of all at once.
    """
    environment = os.environ if environment is None else environment
    fields = msgspec.structs.fields(Settings)
    needed = {field.name for field in fields if field.required} | set(also)
    values, problems = values_of(Settings, environment, Settings.__struct_fields__, needed)
    problems += _masterless(values)
    defaults = {field.name: field.default for field in fields if not field.required}
    problems += unsafe(defaults | values)
    if problems:
        raise SettingsError("\n".join(problems))
    return Settings(**values)


def load_masters(environment: Mapping[str, str] | None = None) -> tuple[Master, ...]:
    """What wraps the program's keys, for who needs nothing else of the settings. Raises SettingsError."""
    environment = os.environ if environment is None else environment
    values, problems = values_of(Settings, environment, _OPENING)
    problems += [*_masterless(values), *unsafe(values)]
    if problems:
        raise SettingsError("\n".join(problems))
    return _masters(*(values.get(name) for name in _OPENING))


def load_urls(names: Collection[str], environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """These addresses of databases, for who needs nothing else of the settings. Raises SettingsError."""
    environment = os.environ if environment is None else environment
    values, problems = values_of(Settings, environment, (*names, *_SURROUNDINGS), names)
    problems += unsafe({"environment": "production"} | values)
    if problems:
        raise SettingsError("\n".join(problems))
    return {name: str(values[name]) for name in names}


def load_owner_database_url(environment: Mapping[str, str] | None = None) -> str:
    """The one secret that migrations need: what changes the schema holds no other one. Raises SettingsError."""
    return load_urls(("owner_database_url",), environment)["owner_database_url"]


def variable_of(login: str) -> str:
    """Which setting names the database as somebody; a superuser's address where it is none of our logins."""
    fields = {login: field for field, login in reversed(LOGINS.items())} | {"app_migrator": "owner_database_url"}
    return PREFIX + fields.get(login, "admin_database_url").upper()


def variables(settings: Settings) -> dict[str, str]:
    """The variables from which `load` makes these settings again."""
    return {
        f"{PREFIX}{name.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in msgspec.structs.asdict(settings).items()
        if value is not None
    }


def is_configured(environment: Mapping[str, str]) -> bool:
    """Whether an installation is described at all: any of what leads to it, or that it is none of `insula up`."""
    needed = {field.name for field in msgspec.structs.fields(Settings) if field.required}
    names = {f"{PREFIX}{name.upper()}" for name in needed | _MASTERS | set(_PLACES)}
    if f"{PREFIX}ENVIRONMENT_FILE" in environment:  # what is up knows no files
        return True
    kind = environment.get(f"{PREFIX}ENVIRONMENT", "embedded")
    return kind != "embedded" or any(name.removesuffix("_FILE") in names for name in environment)


def _masterless(values: Collection[str]) -> list[str]:
    return [] if _MASTERS.intersection(values) else [f"{PREFIX}SECRET_KEY{MISSING}"]


def _masters(command: str | None, *secrets: str | None) -> tuple[Master, ...]:
    commands = () if command is None else (CommandMaster(command),)
    return *commands, *(SecretMaster(b64decode(secret)) for secret in secrets if secret is not None)
