"""What went wrong, as a command says it: a line or two, without the way it came."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from insula.core.mendable import Mendable
from insula.settings import variable_of


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


def _leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _told(error: BaseException) -> str:
    """Of a server that cannot be reached also the variable naming it. Its class is not imported: asyncpg would be."""
    login = getattr(error, "login", None)
    return str(error) if login is None else f"{variable_of(login)}: {error}"
