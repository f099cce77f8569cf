"""What a feature brings to the program."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from insula.core.errors import DomainError
from insula.core.events import Event
from insula.core.permissions import Permission
from insula.core.schemas import Task


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """One folder under ``features/``, as its ``__init__`` exports it. Entrypoints list the features by hand."""

    name: str
    controllers: Sequence[Any] = ()
    permissions: Sequence[Permission] = ()
    events: Sequence[type[Event]] = ()
    id_prefixes: Mapping[str, str] = {}
    """Prefix -> what it names."""
    handlers: Mapping[type[Task], Any] = {}
    """What runs each task."""
    schedules: Sequence[Any] = ()
    constraints: Mapping[str, Callable[[], DomainError]] = {}
    """Constraint of the database -> what its refusal means to the caller."""


def queues_of(features: Sequence[Feature]) -> tuple[str, ...]:
    """The queues that the tasks of these features name, the default one first."""
    named = {task.QUEUE for feature in features for task in feature.handlers}
    return (Task.QUEUE, *sorted(named - {Task.QUEUE}))
