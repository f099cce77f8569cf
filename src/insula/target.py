"""Which installation a command is about: the one that INSULA_* variables describe, or else the one that is up."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from insula.environment import MISSING, values_of
from insula.instance import read
from insula.settings import Settings, SettingsError, is_configured
from insula.unsafe import PREFIX


class Target(msgspec.Struct, frozen=True):
    """The variables of an installation, and what there is to say where nobody named it."""

    environment: Mapping[str, str]
    said: str = ""


def target(home: Path, needed: str) -> Target:
    """Raises SettingsError where there is neither, and where what is set may be the misspelt name of another one.

    ``needed`` is the setting without which the command at hand reaches no installation.
    """
    if is_configured(os.environ):
        return Target(os.environ)
    lines, none = read(home), "No INSULA_* variables describe an installation"
    _, problems = values_of(Settings, os.environ, Settings.__struct_fields__)
    if lines is None:
        none += f", and nothing is up in {home}. {PREFIX}{needed.upper()}{MISSING}; or start one here with `insula up`."
        raise SettingsError("\n".join([none, *problems]))
    if problems:
        raise SettingsError("\n".join(problems))
    environment = dict(line.split("=", 1) for line in lines.splitlines())
    said = f"{none}: this is what is up in {home}."
    if others := sorted(_others(environment)):
        said += f"\nIt was started with other values, which are used instead of these: {', '.join(others)}."
    return Target(environment, said)


def _others(running: Mapping[str, str]) -> Iterator[str]:
    """What is set here and is not what the running one has."""
    for field in Settings.__struct_fields__:
        name = PREFIX + field.upper()
        if f"{name}_FILE" in os.environ:
            yield f"{name}_FILE"
        elif name in os.environ and os.environ[name] != running.get(name):
            yield name
