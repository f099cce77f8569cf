"""What makers of client code read in the document, and clients that they made, at work on the running program."""

import re
from typing import Any

ANSWERED = re.compile(r"#/components/schemas/(\w+)")


def answered(document: dict[str, Any]) -> set[str]:
    """The schemas of whatever is answered."""
    schemas = document["components"]["schemas"]
    replies = [item["responses"] for path in document["paths"].values() for item in path.values()]
    found, new = set[str](), set(ANSWERED.findall(repr([replies, document["components"]["responses"]])))
    while new:
        found |= new
        new = {name for each in new for name in ANSWERED.findall(repr(schemas[each]))} - found
    return found


def test_a_schema_s_title_is_its_name(document: dict[str, Any]) -> None:
    """Makers of code name classes by it."""
    schemas = document["components"]["schemas"]
    assert {name: schema["title"] for name, schema in schemas.items() if schema["title"] != name} == {}


def test_what_an_answer_always_says_is_required(document: dict[str, Any]) -> None:
    """A client would have to ask whether it is there; a problem alone leaves out what it has nothing to say about."""
    schemas, names = document["components"]["schemas"], answered(document)
    assert len(names) > 40
    optional = {name: set(schemas[name].get("properties", ())) - set(schemas[name].get("required", ())) for name in names}
    assert {name for name, fields in optional.items() if fields} == {"Problem"}
