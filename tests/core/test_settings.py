"""The environment becomes settings, or is refused with the names of what is wrong."""

from pathlib import Path

import pytest

from insula.settings import Settings, SettingsError, is_configured, load, load_owner_database_url, variables

GOOD = {
    "INSULA_SECRET_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "INSULA_DATABASE_URL": "postgresql://app_rw:x@db/insula?sslmode=verify-full",
    "INSULA_IDENTITY_DATABASE_URL": "postgresql://app_identity:x@db/insula?sslmode=verify-full",
    "INSULA_PLATFORM_DATABASE_URL": "postgresql://app_platform:x@db/insula?sslmode=verify-full",
    "INSULA_REDIS_URL": "rediss://redis",
    "INSULA_BASE_URL": "https://app.example.com",
    "INSULA_SMTP_HOST": "mail.example.com",
    "INSULA_MAIL_FROM": "no-reply@example.com",
}


def complaints(**changes: str | None) -> str:
    environment = {**GOOD, **{f"INSULA_{name.upper()}": value for name, value in changes.items()}}
    with pytest.raises(SettingsError) as refused:
        load({name: value for name, value in environment.items() if value is not None})
    return str(refused.value)


def test_a_complete_environment_becomes_typed_values() -> None:
    settings = load({**GOOD, "INSULA_PORT": "9000", "INSULA_PGBOUNCER": "true"})
    assert (settings.port, settings.pgbouncer, settings.environment) == (9000, True, "production")


def test_settings_can_be_handed_on_as_variables() -> None:
    settings = load(
        {**GOOD, "INSULA_PGBOUNCER": "true", "INSULA_SMTP_USERNAME": "a", "INSULA_SMTP_PASSWORD": "x = 'y'"}
    )
    assert load(variables(settings)) == settings


def test_an_installation_is_described_by_what_has_no_default() -> None:
    assert not is_configured({"INSULA_LOG_LEVEL": "info", "INSULA_HOME": "here", "PATH": "/bin"})
    for name in ("SECRET_KEY_FILE", "OWNER_DATABASE_URL_FILE", "ENVIRONMENT"):
        assert is_configured({f"INSULA_{name}": "production"})


def test_every_missing_variable_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        load({}, also=("identity_database_url",))
    for name in GOOD:
        assert f"{name} is missing" in str(refused.value)


def test_what_is_unsafe_is_told_together_with_what_is_missing_and_wrong() -> None:
    said = complaints(redis_url=None, port="eighty", secret_key="c2hvcnQ=", mail_from="nobody")
    for name in ("REDIS_URL is missing", "PORT: ", "SECRET_KEY: at least", "MAIL_FROM: "):
        assert f"INSULA_{name}" in said


def test_a_value_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(GOOD["INSULA_SECRET_KEY"] + "\n")
    environment = {name: value for name, value in GOOD.items() if name != "INSULA_SECRET_KEY"}
    settings = load({**environment, "INSULA_SECRET_KEY_FILE": str(tmp_path / "key")})
    assert isinstance(settings, Settings)
    assert settings.secret_key == GOOD["INSULA_SECRET_KEY"]


@pytest.mark.parametrize("name", ["secret_key", "database_url", "port"])
def test_a_file_that_cannot_be_read_is_told_once(name: str) -> None:
    told = complaints(**{name: None, f"{name}_file": "/nowhere"})
    assert told == f"INSULA_{name.upper()}_FILE: cannot read /nowhere: No such file or directory"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("port", "eighty", "INSULA_PORT"),
        ("port", "70000", "INSULA_PORT"),
        ("secret_key", "c2hvcnQ=", "at least 32 bytes"),
        ("secret_key", "not base64!", "not base64"),
        ("database_url", "mysql://x@y/z", "INSULA_DATABASE_URL"),
        ("traces_url", "collector", "INSULA_TRACES_URL"),
        ("smtp_host", "", "INSULA_SMTP_HOST"),
        ("session_idle_hours", "1000", "INSULA_SESSION_IDLE_HOURS"),
        ("sessions_per_user", "1001", "INSULA_SESSIONS_PER_USER"),
        ("database_url", "postgresql://postgres@db/insula", "must sign in as app_rw"),
        ("platform_database_url", "postgresql://app_rw@db/insula", "must sign in as app_platform"),
        ("database_url", "postgresql://app_rw@db/insula?ssl=require", "INSULA_DATABASE_URL: ssl= is no parameter"),
        (
            "replica_database_url",
            "postgresql://app_rw@db/insula?foo=1",
            "INSULA_REPLICA_DATABASE_URL: foo= is no param",
        ),
        (
            "identity_database_url",
            "postgresql://app_identity@db/insula?session_replication_role=replica",
            "session_rep",
        ),
        (
            "database_url",
            "postgresql://app_rw@db/insula?sslmode=require&options=-crow_security%3Doff",
            "options= is no",
        ),
        ("database_url", "postgresql://app_rw@db/insula?user=postgres", "user= is no parameter of a connection here"),
        (
            "database_url",
            "postgresql://app_rw@db/insula?sslmode=bogus",
            "sslmode=bogus; disable, allow, prefer, require",
        ),
        ("database_url", "postgresql://app_rw@db/insula?sslmode", "INSULA_DATABASE_URL: sslmode=; disable"),
        (
            "database_url",
            "postgresql://app_rw@db/insula?sslrootcert=",
            "INSULA_DATABASE_URL: sslrootcert= has no value",
        ),
        ("database_url", "postgresql://app_rw@db/insula?sslmode=verify-full&sslmode=disable", "sslmode= is said twice"),
        ("database_url", "postgresql://app_rw@db/insula?sslmode=require&", "an & has no parameter beside it"),
        ("database_url", "postgresql://app_rw@db,/insula", "INSULA_DATABASE_URL: not a postgresql:// address"),
        ("owner_database_url", "postgresql://app_migrator@db/insula?role=postgres", "INSULA_OWNER_DATABASE_URL: role="),
        ("owner_database_url", "postgresql:///insula", "INSULA_OWNER_DATABASE_URL: not a postgresql:// address"),
        ("admin_database_url", "postgresql:///postgres?jit=off", "INSULA_ADMIN_DATABASE_URL: jit= is no parameter"),
        ("base_url", "http://app.example.com", "must be https"),
        ("base_url", "https://app.example.com/path", "an origin"),
        ("base_url", "https://app.example.com?x=1", "INSULA_BASE_URL: an origin"),
        ("base_url", "https://app.example.com#x", "INSULA_BASE_URL: an origin"),
        ("base_url", "https://user:word@app.example.com", "INSULA_BASE_URL: an origin"),
        ("base_url", "https://a b.example.com", "INSULA_BASE_URL: an origin"),
        ("base_url", "https://[::1", "INSULA_BASE_URL: an origin"),
        ("base_url", "https://app.example.com:99999", "INSULA_BASE_URL: an origin"),
        ("base_url", "https://App.example.com", "INSULA_BASE_URL: browsers write it as https://app.example.com"),
        ("base_url", "https://app.example.com:443", "INSULA_BASE_URL: browsers write it as https://app.example.com"),
        ("smtp_tls", "none", "unencrypted"),
        ("smtp_tls", "maybe", "INSULA_SMTP_TLS"),
        ("redis_url", "http://redis", "INSULA_REDIS_URL"),
        ("redis_url", "rediss://[::1", "INSULA_REDIS_URL: not a redis:// address"),
        ("redis_url", "rediss://:pass/word@redis", "INSULA_REDIS_URL: not a redis:// address"),
        ("redis_url", "rediss://redis:notaport/0", "INSULA_REDIS_URL: not a redis:// address"),
        ("redis_url", "redis:///0?host=redis", "INSULA_REDIS_URL: an address such as"),
        ("redis_url", "rediss://redis/notadb", "INSULA_REDIS_URL: /notadb is no number of a database"),
        ("redis_url", "rediss://redis/0?foo=bar", "INSULA_REDIS_URL: foo= is no parameter"),
        ("traces_url", "https://[::1", "INSULA_TRACES_URL: an address such as"),
        ("traces_url", "http://evil\\@localhost/", "INSULA_TRACES_URL: an address such as"),
        ("host", "", "INSULA_HOST: others connect there"),
        ("metrics_host", "", "INSULA_METRICS_HOST: others connect there"),
        (
            "database_url",
            "postgresql://app_rw@[::1],db/insula",
            "INSULA_DATABASE_URL: ",
        ),  # newer Pythons read no such one
        ("traces_url", "https://collector:notaport/v1/traces", "INSULA_TRACES_URL: an address such as"),
        ("smtp_password", "word", "INSULA_SMTP_USERNAME is needed: INSULA_SMTP_PASSWORD is set"),
        ("jobs_redis_url", "redis.internal:6379", "INSULA_JOBS_REDIS_URL"),
        ("port", "abc", "INSULA_PORT: Expected a whole number"),
        ("pgbouncer", "perhaps", "INSULA_PGBOUNCER: 'perhaps' is none of true, false"),
        ("log_level", "loud", "INSULA_LOG_LEVEL: 'loud' is none of debug, info, warning, error"),
        ("mail_from", "Insula <no-reply@example.com>", "INSULA_MAIL_FROM: an address such as"),
        ("mail_from", "nobody", "INSULA_MAIL_FROM"),
        ("mail_from", "a@b.co\r\nBcc: c@d.co", "INSULA_MAIL_FROM"),
        ("secret_key_file", "/nowhere/key", "INSULA_SECRET_KEY"),
    ],
)
def test_what_is_wrong_or_unsafe_is_named(name: str, value: str, said: str) -> None:
    assert said in complaints(**{name: value})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("limit_project", "INSULA_LIMIT_PROJECT is no setting; is INSULA_LIMIT_PROJECTS meant?"),
        ("smtp_pasword_file", "INSULA_SMTP_PASWORD_FILE is no setting; is INSULA_SMTP_PASSWORD_FILE meant?"),
        ("qqqqqqqqqqqqqqqq", "INSULA_QQQQQQQQQQQQQQQQ is no setting"),
    ],
)
def test_a_misspelt_variable_is_named_and_so_is_the_one_that_may_be_meant(name: str, said: str) -> None:
    assert said in complaints(**{name: "3"}).splitlines()


def test_variables_that_other_parts_read_are_no_mistakes() -> None:
    others = ("HOME", "PYTHON", "URL", "DOCS_URL", "INBOX_URL", "METRICS_URL", "TEST_REDIS_URL")
    assert load({**GOOD, **{f"INSULA_{name}": "x" for name in others}}) == load(GOOD)


@pytest.mark.parametrize(
    "asked",
    [
        "sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt",
        "sslmode=verify-full&sslcert=c&sslkey=k&sslpassword=p&sslcrl=l&sslnegotiation=direct",
        "ssl_min_protocol_version=TLSv1.2&ssl_max_protocol_version=TLSv1.3",
        "passfile=/run/secrets/pgpass&target_session_attrs=read-write",
    ],
)
def test_an_address_says_how_the_connection_is_made(asked: str) -> None:
    address = f"postgresql://app_rw@db/insula?{asked}"
    trusted = {"INSULA_TRUSTED_NETWORK": "true"}
    assert load({**GOOD, **trusted, "INSULA_DATABASE_URL": address}).database_url == address


def test_a_superuser_may_come_through_a_socket() -> None:
    address = "postgresql:///postgres?host=/run/postgresql&port=5433"
    assert load({**GOOD, "INSULA_ADMIN_DATABASE_URL": address}).admin_database_url == address


def test_no_part_of_a_password_that_is_not_encoded_is_told() -> None:
    said = complaints(
        database_url="postgresql://app_rw:5?word=secret@db/insula", owner_database_url="postgresql://a:5?word@db/x"
    )
    assert said.count("not %-encoded") == 2
    assert "word" not in said.replace("password", "")


def test_migrations_need_one_address_and_no_other_secret(tmp_path: Path) -> None:
    address = "postgresql://app_migrator:secret@db/insula?sslmode=verify-full"
    (tmp_path / "owner").write_text(f"{address}\n")
    assert load_owner_database_url({"INSULA_OWNER_DATABASE_URL_FILE": str(tmp_path / "owner")}) == address


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "is missing"),
        ({"INSULA_OWNER_DATABSE_URL": "postgresql://x@y/z"}, "DATABSE_URL is no setting; is INSULA_OWNER_DATABASE_URL"),
        ({"INSULA_OWNER_DATABASE_URL": "mysql://x@y/z"}, "not a postgresql:// address"),
        ({"INSULA_OWNER_DATABASE_URL": "postgresql://app_migrator@db/insula?sslmode=on"}, "sslmode=on; disable"),
        ({"INSULA_OWNER_DATABASE_URL_FILE": "/nowhere/url"}, "cannot read /nowhere/url"),
        ({"INSULA_OWNER_DATABASE_URL": "postgresql://app_migrator@db/insula?sslmode=require"}, "sslmode=verify-full"),
    ],
)
def test_migrations_refuse_an_address_they_cannot_use(variables: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as refused:
        load_owner_database_url(variables)
    assert "INSULA_OWNER_DATABASE_URL" in str(refused.value)


FULL = "sslmode=verify-full"
SAFE = [
    ("database_url", f"postgresql://app_rw@db/insula?{FULL}&sslrootcert=/ca.pem"),
    ("database_url", "postgresql://app_rw@127.0.0.1/insula"),
    ("database_url", "postgresql://app_rw@localhost:6432/insula"),
    ("database_url", "postgresql://app_rw@[::1]/insula"),
    ("database_url", "postgresql://app_rw@%2Frun%2Fpostgresql/insula"),
    ("admin_database_url", "postgresql:///postgres?host=/run/postgresql"),
    ("redis_url", "redis://127.0.0.1:6379"),
    ("redis_url", "unix:///run/redis/redis.sock"),
    ("redis_url", "rediss://:word@redis?ssl_ca_certs=/ca.pem"),
    ("redis_url", "rediss://redis?ssl_cert_reqs=required&ssl_check_hostname=true"),
    ("jobs_redis_url", "rediss://redis"),
    ("traces_url", "https://collector:4318/v1/traces"),
    ("traces_url", "http://127.0.0.1:4318/v1/traces"),
    ("host", "127.0.0.1"),
    ("metrics_host", "::1"),
]
UNENCRYPTED = [
    *(
        (f"{name}database_url", f"postgresql://{login}@db/insula{end}")
        for name, login in (
            *(("", "app_rw"), ("replica_", "app_rw"), ("identity_", "app_identity"), ("platform_", "app_platform")),
            *(("owner_", "app_migrator"), ("admin_", "postgres")),
        )
        for end in ("", "?sslmode=require", "?sslmode=verify-ca")
    ),
    ("database_url", "postgresql://app_rw@10.0.0.1/insula"),
    ("database_url", "postgresql://app_rw@localhost.example.com/insula"),
    ("database_url", "postgresql://app_rw@127.0.0.1,db/insula"),
    ("admin_database_url", "postgresql:///postgres?host=db"),
    ("redis_url", "redis://redis"),
    ("redis_url", "rediss://redis?ssl_cert_reqs=none"),
    ("redis_url", "rediss://redis?ssl_cert_reqs=optional"),
    ("redis_url", "rediss://redis?ssl_cert_reqs=none&ssl_cert_reqs=required"),
    ("redis_url", "rediss://redis?ssl_check_hostname=false"),
    ("jobs_redis_url", "redis://redis"),
    ("traces_url", "http://collector:4318/v1/traces"),
    ("host", "0.0.0.0"),
    ("host", "::"),
    ("metrics_host", "10.0.0.1"),
]


@pytest.mark.parametrize(("name", "value"), SAFE)
def test_what_stays_here_or_verifies_is_taken(name: str, value: str) -> None:
    assert getattr(load({**GOOD, f"INSULA_{name.upper()}": value}), name) == value


@pytest.mark.parametrize(("name", "value"), UNENCRYPTED)
def test_a_connection_that_others_could_read_or_answer_is_named(name: str, value: str) -> None:
    (line,) = complaints(**{name: value}).splitlines()
    assert line.startswith(f"INSULA_{name.upper()}: ")
    assert "or INSULA_TRUSTED_NETWORK=true" in line


@pytest.mark.parametrize(("name", "value"), UNENCRYPTED)
@pytest.mark.parametrize("change", [{"INSULA_TRUSTED_NETWORK": "true"}, {"INSULA_ENVIRONMENT": "embedded"}])
def test_on_a_trusted_network_it_is_taken(name: str, value: str, change: dict[str, str]) -> None:
    assert getattr(load({**GOOD, **change, f"INSULA_{name.upper()}": value}), name) == value


def test_mail_leaves_the_network_and_is_encrypted_wherever() -> None:
    assert "unencrypted" in complaints(trusted_network="true", smtp_tls="none")


def test_metrics_that_nobody_serves_need_no_certificate() -> None:
    assert load({**GOOD, "INSULA_METRICS_HOST": "0.0.0.0", "INSULA_METRICS_PORT": "0"}).metrics_port == 0
