"""The types of events of each stream, described by the Structs that carry them."""

from collections.abc import Sequence
from inspect import cleandoc
from typing import Any

import msgspec

from insula.core.events import Event, OfAccount
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
    return EventTypeRead(
        type=event.TYPE,
        version=event.VERSION,
        feature=feature,
        target_type=event.TARGET,
        description=" ".join(cleandoc(event.__doc__ or "").split()).replace("``", "`"),
        schema=_schema_of_data(event),
    )


def _schema_of_data(event: type[Event]) -> dict[str, Any]:
    """The schema without ``target_id``, which an event shows beside its data and not in it."""
    (reference,), definitions = msgspec.json.schema_components([event], ref_template="#/$defs/{name}")
    schema: dict[str, Any] = definitions.pop(reference["$ref"].rpartition("/")[2])
    schema["properties"].pop("target_id")
    schema["required"].remove("target_id")
    schema.pop("description", None)
    return schema | ({"$defs": definitions} if definitions else {})
