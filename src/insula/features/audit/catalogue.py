"""The types of events of each stream, described by the Structs that carry them."""

import re
from collections.abc import Sequence
from functools import cache
from inspect import cleandoc
from typing import Any, Final, get_args, get_type_hints

import msgspec
from msgspec import UNSET, UnsetType

from insula.core.events import Changed, Event, OfAccount
from insula.core.feature import Feature
from insula.features.audit.schemas import EventTypeList, EventTypeRead

_WORD: Final = re.compile(r"(?:^|[._])([a-z])")
_OF_SCHEMAS: Final = frozenset({"properties", "$defs"})
_BOUNDS: Final = frozenset(
    {
        "pattern",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "maxProperties",
        "propertyNames",
    }
)


def types_of(features: Sequence[Feature], *, account: bool) -> list[tuple[str, type[Event]]]:
    """The events of an organization's stream, or of a person's own record, each with its feature."""
    return [
        (feature.name, event)
        for feature in features
        for event in feature.events
        if issubclass(event, OfAccount) is account
    ]


def catalogue(features: Sequence[Feature], *, account: bool) -> EventTypeList:
    """They are described by name."""
    described = [_describe(name, event) for name, event in types_of(features, account=account)]
    return EventTypeList(sorted(described, key=lambda item: item.type))


def _describe(feature: str, event: type[Event]) -> EventTypeRead:
    data, personal = _schemas_of(event)
    return EventTypeRead(
        type=event.TYPE,
        version=event.VERSION,
        feature=feature,
        target_type=event.TARGET,
        description=" ".join(cleandoc(event.__doc__ or "").split()).replace("``", "`"),
        schema=data,
        personal_schema=personal,
    )


@cache
def _schemas_of(event: type[Event]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Of both parts, without ``target_id``, which an event shows beside them."""
    hints = get_type_hints(event, include_extras=True)
    fields = {name: hints[name] for name in event.__struct_fields__ if name != "target_id"}
    sides = ("before", "after") if issubclass(event, Changed) else ()  # which both parts have
    data = {name: kind for name, kind in fields.items() if name not in event.PERSONAL}
    personal = {name: kind for name, kind in fields.items() if name in {*event.PERSONAL, *sides}}
    title = _WORD.sub(lambda found: found[1].upper(), event.TYPE)  # programs name what they make of a schema after it
    if issubclass(event, Changed):
        data |= dict.fromkeys(sides, _changed_of(event, f"{title}Fields", personal=False))
        personal |= dict.fromkeys(sides, _changed_of(event, f"{title}PersonalFields", personal=True) | UnsetType)
    return _schema(f"{title}Data", data), _schema(f"{title}Personal", personal) if event.PERSONAL else None


def _changed_of(event: type[Changed], title: str, *, personal: bool) -> Any:
    """The fields that may have changed, as the body describes them that asks for the change."""
    hints = get_type_hints(event.CHANGE, include_extras=True)
    names = [name for name in event.CHANGE.__struct_fields__ if (name in event.PERSONAL) is personal]
    described = {"__doc__": "The fields that changed."}
    fields = [(name, hints[name], UNSET) for name in names]
    return msgspec.defstruct(title, fields, namespace=described, forbid_unknown_fields=True)


def _schema(title: str, fields: dict[str, Any]) -> dict[str, Any]:
    """An object's, with definitions of what its fields refer to. What may be unset may be absent; what is not named is
    not there: another field would be another version.
    """
    declared = [(name, kind, UNSET) if UnsetType in get_args(kind) else (name, kind) for name, kind in fields.items()]
    part = msgspec.defstruct(title, declared, kw_only=True, forbid_unknown_fields=True)
    (reference,), definitions = msgspec.json.schema_components([part], ref_template="#/$defs/{name}")
    schema = definitions.pop(reference["$ref"].rpartition("/")[2])
    return _without_bounds(schema | ({"$defs": definitions} if definitions else {}))


def _without_bounds(schema: dict[str, Any]) -> dict[str, Any]:
    """What it is, and not what is asked of it today: an event of before a rule was made keeps what it says."""
    found: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in _OF_SCHEMAS:
            found[keyword] = {name: _without_bounds(each) for name, each in value.items()}
        elif keyword == "anyOf":
            found[keyword] = [_without_bounds(each) for each in value]
        elif keyword in {"items", "additionalProperties"} and isinstance(value, dict):
            found[keyword] = _without_bounds(value)
        elif keyword not in _BOUNDS:
            found[keyword] = value
    return found
