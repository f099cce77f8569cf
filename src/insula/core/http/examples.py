"""Examples for the document: made of those the fields' types carry, so that they fit the schema they stand beside."""

from typing import Any, Final

from msgspec import inspect

_BY_TYPE: Final[dict[type, Any]] = {
    inspect.BoolType: True,
    inspect.FloatType: 1.5,
    inspect.DateTimeType: "2026-11-01T09:30:00Z",
    inspect.DateType: "2026-11-01",
    inspect.StrType: "text",
    inspect.AnyType: {},
    inspect.RawType: {},
    inspect.DictType: {},
}


def example_of(annotation: Any) -> Any:
    """A value of this type as JSON would carry it; optional fields are shown where they have something to say."""
    return _example(inspect.type_info(annotation))


def _example(kind: inspect.Type) -> Any:  # noqa: PLR0911  # one for each kind
    match kind:
        case inspect.Metadata(type=inner, extra_json_schema=extra):
            given = (extra or {}).get("examples")
            return given[0] if given else _example(inner)
        case inspect.UnionType(types=types):
            # What may have happened did not.
            happened = [each for each in types if not isinstance(each, inspect.NoneType | inspect.DateTimeType)]
            return _example(happened[0]) if happened else None
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.EnumType(cls=cls):
            return next(iter(cls)).value
        case inspect.IntType(ge=least):
            return least or 1
        case inspect.ListType(item_type=item) | inspect.CollectionType(item_type=item):
            return [_example(item)]
        case inspect.StructType(fields=fields):
            return {field.encode_name: _field(field) for field in fields}
    return _BY_TYPE[type(kind)]


def _field(field: inspect.Field) -> Any:
    """An example of its own says more than its default."""
    if isinstance(field.default, (str, int, float)) and not isinstance(field.type, inspect.Metadata):
        return field.default
    return _example(field.type)
