"""What went wrong, as a command says it: a line or two, without the way it came."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from insula.core.mendable import Mendable
from insula.settings import variable_of

OF_AN_UP: Final = "the `insula up` of these variables"
AGAIN: Final = "Start it again and read `insula env` anew, for it may have other ports; or unset INSULA_*."
"""What to do when that has ended."""
_LOCALHOST: Final = "127.0.0.1"


@contextmanager
def plainly() -> Iterator[None]:
    """Raises click.ClickException for what somebody can mend, and for what the system refuses."""
    told: list[str] = []
    try:
        yield
    except* (Mendable, OSError) as errors:
        told += map(_told, _leaves(errors))
    if told:  # not in there: Python 3.11.2 wraps what is raised in an except* into a group
        raise click.ClickException("\n".join(told))


def is_of_an_up(environment: str | None, host: str | None) -> bool:
    """Whether an `insula up` said this of itself: all of its servers are on this machine."""
    return environment == "embedded" and host == _LOCALHOST


def _leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _told(error: BaseException) -> str:
    """Of a server that cannot be reached also the variable naming it. Its class is not imported: asyncpg would be."""
    login = getattr(error, "login", None)
    if login is None:
        return str(error)
    of_an_up = is_of_an_up(os.environ.get("INSULA_ENVIRONMENT"), getattr(error, "host", ""))
    ended = of_an_up and getattr(error, "is_away", False)
    return f"{variable_of(login)}: {error}{f'; {OF_AN_UP} has ended. {AGAIN}' if ended else ''}"
