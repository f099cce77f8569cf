"""The command line."""

import asyncio
import os
import sys
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from insula import garbage
from insula.addresses import wrong_origin
from insula.plainly import plainly
from insula.settings import Settings, SettingsError, load, load_owner_database_url, load_urls

_WRAPPER = """
\b
The wrapper ./insula knows two more:
  test    Run the tests; pytest's own arguments follow.
  python  Run Python with the program and its packages.
"""
_SIGN_IN = "identity_database_url"
"""What every process needs but a worker, which signs nobody in."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=_WRAPPER)
@click.version_option(package_name=None, version="0.1.0", prog_name="insula")
def main() -> None:
    """Insula: a multi-tenant SaaS backend. `insula up` runs all of it here; the other commands run one part
    against servers of yours, configured by INSULA_* variables.
    """


@main.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="The API's; 0: a free one."
)
@click.option("--fresh", is_flag=True, help="Forget everything first.")
@click.option("--base-url", metavar="URL", help="Where your front end is, such as http://localhost:5173; else the API.")
def up(port: int, *, fresh: bool, base_url: str | None) -> None:
    """Run everything on this machine, with PostgreSQL, Valkey and an inbox of its own.

    Its state lives in the folder that INSULA_HOME names, by default .insula here; another folder is another instance.
    INSULA_* variables change what is not of this machine's making: limits, lifetimes, logs, the sender of mail.
    """
    from insula.up import up as start

    if base_url is not None and (wrong := wrong_origin(base_url)):
        raise click.BadParameter(wrong, param_hint="'--base-url'")
    interrupted = False
    try:
        with plainly():
            start(_home(), port, fresh=fresh, console=Console(soft_wrap=True), base_url=base_url)
    except* KeyboardInterrupt:
        interrupted = True
    if interrupted:
        sys.exit(130)


@main.command()
def env() -> None:
    """Print the running instance of `insula up` as KEY=value lines, quoted as a shell reads them."""
    import shlex

    from insula.instance import read

    lines = read(_home())
    if lines is None:
        raise click.ClickException(f"nothing is up in {_home()}; start it with `insula up`")
    for name, _, value in (line.partition("=") for line in lines.splitlines()):
        click.echo(f"{name}={shlex.quote(value)}")


@main.command()
def api() -> None:
    """Serve the API."""
    from insula.core.logs import configure_logs
    from insula.server import run

    settings = _settings(_SIGN_IN)
    configure_logs(settings.log_level, json=settings.log_json)
    _run(run(settings))


@main.command()
def worker() -> None:
    """Run jobs, hand out those that are due, keep house."""
    from insula.core.logs import configure_logs
    from insula.worker import create_worker

    settings = _settings()
    configure_logs(settings.log_level, json=settings.log_json)
    with plainly():
        process = create_worker(settings)
    _run(process.run())


@main.command()
@click.argument("revision", default="heads")
@click.option("--drop-everything", is_flag=True, help="Let `base` take back all revisions, and all rows with them.")
def migrate(revision: str, *, drop_everything: bool) -> None:
    """Bring the schema up to date, over INSULA_OWNER_DATABASE_URL (direct, as app_migrator).

    With a REVISION no further than to that one; `insula migrate -- insula@-1` takes the last one back, if nothing of
    your own builds on it. `base` empties the database, and wants --drop-everything wherever that is. Where no INSULA_*
    variables describe an installation, the running `insula up` is migrated.
    """
    from insula.provision import migrate as run
    from insula.way_back import stayed

    garbage.collect()  # rows are brought up to date for hours
    with plainly():
        url = load_owner_database_url(_environment())
        reached = asyncio.run(run(url, revision, everything=drop_everything))
    click.echo("The schema is up to date." if revision == "heads" else f"The schema is at {reached or 'nothing'}.")
    if untouched := stayed(reached, revision):
        click.echo(untouched)


@main.command()
@click.argument("key", type=click.Choice(["door-key", "pepper", "data-keys", "master-key"]))
@click.option(
    "--lead",
    default=300,
    show_default=True,
    type=click.IntRange(0, 86_400),
    help="Seconds until a new pepper or data key is used: by then every process must have seen it.",
)
def rotate(key: str, lead: int) -> None:
    """Replace a key while everything runs, over INSULA_OWNER_DATABASE_URL (as app_migrator).

    All but door-key need INSULA_SECRET_KEY or INSULA_KMS_COMMAND as well, and no other setting; with none of these, it
    is done to the running `insula up`.

    door-key signs which tenant a transaction is for. pepper hashes stored credentials, data-keys make mailed links,
    cursors and the names that Redis knows people by: what was made with the ones of before stays good. master-key wraps
    all of these with INSULA_KMS_COMMAND or INSULA_SECRET_KEY; run it when every process has the one of before in
    INSULA_SECRET_KEY_PREVIOUS.
    """
    from insula.rotation import rotate

    with plainly():
        click.echo(asyncio.run(rotate(key, _environment(), lead)))


@main.group()
def operator() -> None:
    """Say who operates the installation: sees failed jobs of all organizations, and decides about them.

    Over INSULA_OWNER_DATABASE_URL, or that of the running `insula up`: nobody becomes an operator over HTTP.
    """


@operator.command("add")
@click.argument("email")
def add_operator(email: str) -> None:
    """Let somebody operate who has an account."""
    from insula.operators import add_operator

    with plainly():
        added = asyncio.run(add_operator(load_owner_database_url(_environment()), email))
    click.echo(f"{email} is an operator{'' if added else ' already'}.")


@operator.command("remove")
@click.argument("email")
def remove_operator(email: str) -> None:
    """Let somebody operate no more; their next request is refused."""
    from insula.operators import remove_operator

    with plainly():
        asyncio.run(remove_operator(load_owner_database_url(_environment()), email))
    click.echo(f"{email} is no longer an operator.")


@operator.command("list")
def list_operators() -> None:
    """Show who operates."""
    from insula.operators import list_operators

    with plainly():
        for email, name in asyncio.run(list_operators(load_owner_database_url(_environment()))):
            click.echo(f"{email}  {name}")


@main.command()
def provision() -> None:
    """Create logins and database once, over INSULA_ADMIN_DATABASE_URL (a superuser), as the other URLs name them."""
    from insula.provision import ADDRESSES, provision_for

    with plainly():
        asyncio.run(provision_for(load_urls(ADDRESSES)))
    click.echo("Logins and database are there; next: insula migrate")


@main.command()
def seed() -> None:
    """Plant the demo data, also in the running `insula up`; not where INSULA_ENVIRONMENT is production."""
    from insula.core.logs import configure_logs
    from insula.seed import plant, refuse_production

    with plainly():
        environment = _environment()
        refuse_production(environment.get("INSULA_ENVIRONMENT"))
        settings = _settings(_SIGN_IN, "owner_database_url", environment=environment)
        configure_logs(settings.log_level, json=settings.log_json)
        planted = asyncio.run(plant(settings))
    click.echo("The demo is planted." if planted else "The demo is there already.")


@main.command()
def doctor() -> None:
    """Say what is wrong and how to mend it.

    Looks at settings, connections and the catalogue's proof of isolation; without INSULA_* variables for them, at those
    of the running `insula up`.
    """
    from insula.doctor import examine

    console = Console(soft_wrap=True)  # paths stay whole, also in a pipe
    try:
        settings = _examined(console)
    except SettingsError as error:
        for line in str(error).splitlines():
            console.print(f"[red]settings[/]  {escape(line)}", highlight=False)
        sys.exit(1)
    sys.exit(0 if asyncio.run(examine(settings, console)) else 1)


@main.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    from insula.app import create_unconnected

    click.echo(create_unconnected().state.description.write())


@main.command()
def routes() -> None:
    """List every route with its permission, or the reason why it needs none."""
    from insula.app import create_unconnected
    from insula.core.http.guard import declared_routes, who_may_call

    for method, path, handler in declared_routes(create_unconnected()):
        click.echo(f"{method:<6}  {path:<64}  {who_may_call(handler)}")  # a line each, also in a pipe


def _home() -> Path:
    return Path(os.environ.get("INSULA_HOME", ".insula")).resolve()


def _examined(console: Console) -> Settings:
    """The installation that the environment describes, or else the one that is up."""
    from insula.target import target

    found = target(_home(), "database_url")
    if found.said:
        console.print(found.said, highlight=False, markup=False)
    return load(found.environment, also=(_SIGN_IN,))


def _environment() -> Mapping[str, str]:
    """For a command that changes or reads an installation by hand: which one it is, is said where nobody named it."""
    from insula.target import target

    found = target(_home(), "owner_database_url")
    if found.said:
        click.echo(found.said, err=True)
    return found.environment


def _settings(*also: str, environment: Mapping[str, str] | None = None) -> Settings:
    try:
        return load(environment, also=also)
    except SettingsError as error:
        raise click.ClickException(f"these settings are not usable:\n{error}") from error


def _run(part: Coroutine[Any, Any, None]) -> None:
    import uvloop

    with plainly():
        uvloop.run(part)


if __name__ == "__main__":
    garbage.rest()
    main(prog_name="insula")
