"""Everything that is wrong with a value, in plain words; asked only once msgspec, which stops at the first, refused."""

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, inspect

from insula.core.errors import FieldError, Wrong
from insula.core.schemas import MOST_BYTES, WANTED, json_length, too_long

UNCLEAR: Final = "not of the documented form"
_MOST: Final = 100
_LOOKED_AT: Final = 1000
"""Values inside of others, of one body; what else it holds is not told, and costs nothing."""
_LONGEST_NAME: Final = 100
WHOLE: Final = re.compile(r"-?[0-9]+")
"""A whole number in a query."""
_DIGITS: Final = 40
"""More are not read: with so many it is as far beyond any bound."""
_SENT: Final[dict[type, str]] = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}
_NEEDED: Final[dict[type, str]] = {
    inspect.StructType: "an object",
    inspect.DictType: "an object",
    inspect.ListType: "a list",
    inspect.StrType: "text",
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.NoneType: "null",
    inspect.DateTimeType: "a date and time with its offset, such as 2026-11-01T09:30:00Z",
}
_NOT_TEXT: Final = f", not {_SENT[str]}"
"""Said of JSON; whatever stands in a query is text."""
_PLUS: Final = "; write + as %2B, since in a query it stands for a blank"
_Complaint = tuple[Wrong, str]

_ITEMS: Final[dict[type, str]] = {inspect.DictType: "entries", inspect.ListType: "items"}


def complaints(value: Any, annotation: Any) -> list[FieldError]:
    """What of a JSON ``value`` is not as ``annotation`` says, with JSON pointers (RFC 6901), up to a hundred."""
    return list(islice(_walk(value, inspect.type_info(annotation), "", _budget()), _MOST))


def complaint_about_text(text: str, annotation: Any, at: str) -> FieldError:
    """What is wrong with a query parameter, in which numbers are written as text."""
    kind = inspect.type_info(annotation)
    value = int(text[:_DIGITS]) if WHOLE.fullmatch(text) and _fits(0, kind) else text
    found = next(_walk(value, kind, at, _budget()), FieldError(at, Wrong.MALFORMED, UNCLEAR))
    detail = found.detail.removesuffix(_NOT_TEXT)
    if " " in text and next(_walk(text.replace(" ", "+"), kind, at, _budget()), None) is None:
        detail += _PLUS
    return FieldError(at, found.code, detail)


def _budget() -> Iterator[int]:
    """Zipped with the parts of a value, it ends their inspection when all of them together were enough."""
    return iter(range(_LOOKED_AT))


def _walk(
    value: Any, kind: inspect.Type, at: str, budget: Iterator[int], wanted: str | None = None
) -> Iterator[FieldError]:
    match kind:
        case inspect.Metadata(type=inner, extra=extra):
            extra = extra or {}
            yield from _walk(value, inner, at, budget, extra.get(WANTED, wanted))
            if (most := extra.get(MOST_BYTES)) is not None and json_length(value) > most:
                yield FieldError(at, Wrong.TOO_LONG, too_long(most))
        case inspect.UnionType(types=types):
            yield from _in_union(value, types, at, budget, wanted)
        case inspect.StructType() if isinstance(value, dict):
            yield from _in_struct(value, kind, at, budget)
        case inspect.DictType() | inspect.ListType() if _fits(value, kind):
            if (complaint := _of_length(len(value), kind, _ITEMS[type(kind)])) is not None:
                yield FieldError(at, *complaint)  # and nothing about its parts: there may be any number of them
            else:
                yield from _in_parts(value, kind, at, budget)
        case _:
            if (complaint := _of_one(value, kind, wanted)) is not None:
                yield FieldError(at, *complaint)


def _in_parts(
    value: Any, kind: inspect.DictType | inspect.ListType, at: str, budget: Iterator[int]
) -> Iterator[FieldError]:
    if isinstance(kind, inspect.ListType):
        for (number, item), _ in zip(enumerate(value), budget, strict=False):
            yield from _walk(item, kind.item_type, f"{at}/{number}", budget)
        return
    for (key, item), _ in zip(value.items(), budget, strict=False):
        yield from _walk(key, kind.key_type, f"{at}/{_escaped(key)}", budget)
        yield from _walk(item, kind.value_type, f"{at}/{_escaped(key)}", budget)


def _in_struct(value: dict[str, Any], kind: inspect.StructType, at: str, budget: Iterator[int]) -> Iterator[FieldError]:
    known = {field.encode_name: field for field in kind.fields}
    for name in value:
        if name not in known and kind.forbid_unknown_fields:
            yield FieldError(f"{at}/{_escaped(name)}", Wrong.UNKNOWN, "unknown field")
    for (name, field), _ in zip(known.items(), budget, strict=False):
        if name in value:
            yield from _walk(value[name], field.type, f"{at}/{name}", budget)
        elif field.required:
            yield FieldError(f"{at}/{name}", Wrong.MISSING, "missing")


def _in_union(
    value: Any, types: tuple[inspect.Type, ...], at: str, budget: Iterator[int], wanted: str | None
) -> Iterator[FieldError]:
    if any(next(_walk(value, each, at, budget, wanted), None) is None for each in types):
        return
    for each in types:
        if _fits(value, each):
            yield from _walk(value, each, at, budget, wanted)
            return
    yield FieldError(at, *_needed(" or ".join(_name(each) for each in types), value))


def _of_one(value: Any, kind: inspect.Type, wanted: str | None) -> _Complaint | None:
    """What is wrong with a value that has no parts, or not those it should have."""
    if isinstance(kind, inspect.AnyType | inspect.RawType):
        return None
    if isinstance(kind, inspect.LiteralType | inspect.EnumType):
        return None if isinstance(value, str) and value in _permitted(kind) else (Wrong.NOT_OFFERED, _name(kind))
    if not _fits(value, kind):
        code, detail = _needed(_name(kind), value)
        return (Wrong.MALFORMED if isinstance(kind, inspect.DateTimeType) and isinstance(value, str) else code), detail
    if isinstance(kind, inspect.StrType):
        return _of_text(value, kind, wanted)
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return _of_number(value, kind)
    return None


def _of_text(value: str, kind: inspect.StrType, wanted: str | None) -> _Complaint | None:
    if (length := _of_length(len(value), kind, "characters")) is not None:
        return length
    if kind.pattern is not None and not re.search(kind.pattern, value):
        return Wrong.MALFORMED, wanted or UNCLEAR
    return None


def _of_number(value: float, kind: inspect.IntType | inspect.FloatType) -> _Complaint | None:
    if kind.ge is not None and value < kind.ge:
        return Wrong.TOO_LOW, f"at least {kind.ge}"
    if kind.le is not None and value > kind.le:
        return Wrong.TOO_HIGH, f"at most {kind.le}"
    return None


def _of_length(length: int, kind: Any, noun: str) -> _Complaint | None:
    if length < (kind.min_length or 0):
        least = "must not be empty" if kind.min_length == 1 else f"at least {kind.min_length} {noun}"
        return Wrong.TOO_SHORT, least
    if kind.max_length is not None and length > kind.max_length:
        return Wrong.TOO_LONG, f"at most {kind.max_length} {noun}"
    return None


def _fits(value: Any, kind: inspect.Type) -> bool:
    """Whether it is of the right kind, be it good or not."""
    match kind:
        case inspect.Metadata(type=inner):
            return _fits(value, inner)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool)
        case inspect.LiteralType() | inspect.EnumType():
            return isinstance(value, str)
        case inspect.DateTimeType():
            return _is_instant(value, kind)
    return _SENT[type(value)] == _NEEDED.get(type(kind))


def _is_instant(value: Any, kind: inspect.DateTimeType) -> bool:
    try:
        msgspec.convert(value, Annotated[datetime, Meta(tz=kind.tz)])
    except msgspec.ValidationError:
        return False
    return True


def _permitted(kind: inspect.LiteralType | inspect.EnumType) -> list[str]:
    return [str(each) for each in (kind.values if isinstance(kind, inspect.LiteralType) else kind.cls)]


def _name(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata(type=inner):
            return _name(inner)
        case inspect.LiteralType() | inspect.EnumType():
            return f"one of {', '.join(_permitted(kind))}"
    return _NEEDED.get(type(kind), "something else")


def _needed(what: str, value: Any) -> _Complaint:
    return Wrong.WRONG_TYPE, f"{what} is needed, not {_SENT[type(value)]}"


def _escaped(name: str) -> str:
    return name[:_LONGEST_NAME].replace("~", "~0").replace("/", "~1")  # RFC 6901, section 3
