"""The types of events of each stream, described by the Structs that carry them."""

from collections.abc import Collection, Sequence
from inspect import cleandoc
from typing import Any

import msgspec

from insula.core.events import Changed, Event, OfAccount
from insula.core.feature import Feature
from insula.features.audit.schemas import EventTypeList, EventTypeRead


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


def _schemas_of(event: type[Event]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Of both parts, without ``target_id``, which an event shows beside them."""
    (reference,), definitions = msgspec.json.schema_components([event], ref_template="#/$defs/{name}")
    schema: dict[str, Any] = definitions.pop(reference["$ref"].rpartition("/")[2])
    schema.pop("description", None)
    named = {"$defs": definitions} if definitions else {}
    fields = schema["properties"].keys() - {"target_id"}
    data = _only(schema, fields - event.PERSONAL) | named
    if issubclass(event, Changed):  # either side has both parts
        return data, _only(schema, fields) | named | {"required": []} if event.PERSONAL else None
    return data, _only(schema, event.PERSONAL) | named if event.PERSONAL else None


def _only(schema: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """An object's schema with these properties, in their order."""
    return schema | {
        "properties": {name: found for name, found in schema["properties"].items() if name in names},
        "required": [name for name in schema["required"] if name in names],
    }
