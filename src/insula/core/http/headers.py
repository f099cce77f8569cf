"""A request's headers, read from the scope: the framework's own view is of all of them, and costs as much."""

from litestar.types import Scope


def values_of(scope: Scope, wanted: bytes) -> list[str]:
    """What a header says, each time that it was sent; ``wanted`` is its name in small letters."""
    return [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]
