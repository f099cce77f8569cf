"""What a POST makes, and where it is then: only one that makes something answers 201 (RFC 9110, section 15.3.2)."""

from typing import Any, Final

import msgspec

CREATES: Final = "creates"
"""Handler option of a POST that makes something else than an item of its own path: the address of what it makes, with
names of the answer's fields in braces; or in words what it is, where it has no address or there are several of it.
"""

ITEM: Final = "{path}/{id}"
"""The address of an item of the path that was asked."""


def has_address(creates: str) -> bool:
    """Whether what is made is found somewhere, rather than described in words."""
    return "{" in creates


def address_of(creates: str, path: str, answer: Any) -> str | None:
    """Where the thing is that the answer to a POST to ``path`` shows; None where it has no address."""
    if not (has_address(creates) and isinstance(answer, msgspec.Struct)):
        return None
    return creates.format_map({"path": path, **msgspec.structs.asdict(answer)})
