"""What a feature brings to the program."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from insula.core.errors import DomainError
from insula.core.events import Event
from insula.core.jobs import ID_PREFIX as JOB_PREFIX
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


class PrefixShared(Exception):
    """Two features call their ids alike: the program does not start."""


def refuse_shared_prefixes(features: Sequence[Feature]) -> None:
    """Raises PrefixShared, which names both, or the feature whose prefix is that of jobs."""
    owners = {JOB_PREFIX: "the core's jobs"}
    for feature in features:
        for prefix in feature.id_prefixes:
            if (first := owners.setdefault(prefix, feature.name)) != feature.name:
                raise PrefixShared(f"the prefix {prefix} of ids belongs to {first}, and {feature.name} has it too")


def queues_of(features: Sequence[Feature]) -> tuple[str, ...]:
    """The queues that the tasks of these features name, the default one first."""
    named = {task.QUEUE for feature in features for task in feature.handlers}
    return (Task.QUEUE, *sorted(named - {Task.QUEUE}))
