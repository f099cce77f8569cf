"""The document's schemas: as msgspec writes them, in words and patterns that other programs read alike."""

import re
from typing import Any, Final

import msgspec

from insula.core.schemas import END, FAR, SURROGATES

_GENERIC: Final = re.compile(rb'\b(Page)_(\w+)_(?=")')
"""What msgspec calls Page[ProjectRead]; ours is ProjectReadPage."""

_END: Final = msgspec.json.encode(END)[1:-1]
"""Python's way to say what ``$`` says in ECMA-262, whose patterns JSON Schema has."""

_UNSPOKEN: Final = tuple(msgspec.json.encode(each)[1:-1] for each in (SURROGATES, *FAR))
"""What regular expressions elsewhere do not read: Rust's and Go's no surrogates, of which Unicode's text has none, and
JavaScript's no ranges beyond U+FFFF, which run backwards to them."""

_REF: Final = "#/components/schemas/{name}"


class Schemas:
    """Schemas as msgspec writes them: of the very types it validates with, so the document cannot disagree."""

    def __init__(self) -> None:
        self._types: list[Any] = []
        self._written: list[dict[str, Any]] = []

    def of(self, annotation: Any) -> dict[str, Any]:
        """A schema that is filled in by ``components``."""
        self._types.append(annotation)
        self._written.append({})
        return self._written[-1]

    def components(self) -> dict[str, Any]:
        made = msgspec.json.encode(msgspec.json.schema_components(self._types, ref_template=_REF))
        schemas, components = msgspec.json.decode(_GENERIC.sub(rb"\2\1", made))
        for written, schema in zip(self._written, schemas, strict=True):
            written.update(schema)
        for name, schema in components.items():
            schema["title"] = name  # makers of client code name classes by it
            if "description" in schema:  # a docstring, with its line breaks
                schema["description"] = " ".join(schema["description"].split())
        return dict(components)


def portable(document: dict[str, Any]) -> dict[str, Any]:
    """The same document as programs in other languages read it."""
    _say_types(document)
    written = msgspec.json.encode(document).replace(_END, b"$").replace(b"``", b"`")
    for unspoken in _UNSPOKEN:
        written = written.replace(unspoken, b"")
    plain: dict[str, Any] = msgspec.json.decode(written)
    return plain


def _say_types(node: Any) -> None:
    """Of texts that are listed, msgspec says no type; makers of forms and of client code look for it."""
    if isinstance(node, list):
        for each in node:
            _say_types(each)
    elif isinstance(node, dict):
        values = node.get("enum")
        if isinstance(values, list) and all(isinstance(value, str) for value in values):
            node.setdefault("type", "string")
        for key, value in node.items():
            if key not in {"example", "examples"}:
                _say_types(value)
