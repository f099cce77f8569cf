"""Environment variables as the typed values of settings, or what is wrong with them."""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from insula.unsafe import PREFIX

_READ_ELSEWHERE: Final = frozenset(
    f"{PREFIX}{name}"
    for name in ("HOME", "PYTHON", "PREPARE_WITH", "CI_ADOPTED", "URL", "DOCS_URL", "INBOX_URL", "METRICS_URL")
)
"""By `insula up`, the wrapper and scripts: no settings, and no mistakes."""
_FOR_TESTS: Final = f"{PREFIX}TEST_"
_UNREAD: Final = "\0"  # in place of what stands in a file that cannot be read: no variable holds it
MISSING: Final = " is missing"
"""How a line ends that tells of a variable that is not set."""


def values_of(
    kind: type[msgspec.Struct],
    environment: Mapping[str, str],
    names: Collection[str],
    needed: Collection[str] = (),
) -> tuple[dict[str, Any], list[str]]:
    """What is set of these, by the names of their fields, or None for what cannot be read; and what is wrong, missing
    though needed, or no setting at all.
    """
    problems, values = list(_unknown(kind, environment)), dict[str, Any]()
    for field in msgspec.structs.fields(kind):
        if field.name not in names:
            continue
        variable = PREFIX + field.name.upper()
        text = _read(environment, variable, problems)
        if text is None:
            if field.name in needed:
                problems.append(f"{variable}{MISSING}")
            continue
        try:
            values[field.name] = None if text is _UNREAD else msgspec.convert(text, field.type, strict=False)
        except msgspec.ValidationError as error:
            problems.append(f"{variable}: {_told(field.type, text, error)}")
    return values, problems


def _unknown(kind: type[msgspec.Struct], environment: Mapping[str, str]) -> Iterator[str]:
    """A misspelt variable would leave its setting at the default, and nobody would notice."""
    names = [PREFIX + field.name.upper() for field in msgspec.structs.fields(kind)]
    known = {*names, *(f"{name}_FILE" for name in names), *_READ_ELSEWHERE}
    bare = sorted(name.removeprefix(PREFIX) for name in known)  # what all have in common would make all alike
    for name in sorted(environment.keys() - known):
        if name.startswith(PREFIX) and not name.startswith(_FOR_TESTS):
            meant = get_close_matches(name.removeprefix(PREFIX), bare, 1)
            yield f"{name} is no setting" + (f"; is {PREFIX}{meant[0]} meant?" if meant else "")


def _read(environment: Mapping[str, str], name: str, problems: list[str]) -> str | None:
    path = environment.get(f"{name}_FILE")
    if path is None:
        return environment.get(name)
    if name in environment:
        problems.append(f"{name} and {name}_FILE are both set")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{name}_FILE: cannot read {path}: {getattr(error, 'strerror', error)}")
        return _UNREAD


def _told(kind: Any, text: str, error: msgspec.ValidationError) -> str:
    """For who sets variables, and knows no types of Python's."""
    choices = ("true", "false") if kind is bool else get_args(kind) if get_origin(kind) is Literal else ()
    if choices:
        return f"{text!r} is none of {', '.join(choices)}"
    return str(error).replace("`int`", "a whole number").replace("`float`", "a number").replace(", got `str`", "")
