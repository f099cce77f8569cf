"""Identifiers: UUIDv7 in the database, TypeID text (``prj_01j...``) everywhere else."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Final
from uuid import UUID

from msgspec import Meta
from msgspec.inspect import Metadata, type_info
from sqlalchemy import Dialect, Uuid
from sqlalchemy.types import TypeDecorator
from uuid_utils import uuid7

from insula.core.schemas import END, WANTED

NIL = UUID(int=0)
"""What a malformed or wrong-prefix id becomes: an id nothing has, so that it is answered like any unknown one."""

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]
"""The two characters of ten bits: a third of what the library's base32 takes, up to 60 times a page."""
_SHIFTS = range(120, -1, -10)
_TO_DIGITS = str.maketrans(_CROCKFORD + "ilou", "0123456789abcdefghijklmnopqrstuv" + "!!!!")
"""To what ``int`` reads in base 32; the four letters that Crockford left out become what it does not read."""
_SUFFIX = 26
_PREFIX: Final = "prefix"
"""In ``Meta(extra=...)``: of which ids a text is one."""


class _Minted:
    """The last id of this process: the next one is greater, also when the machine's clock was set back."""

    latest = 0


def new_id(prefix: str) -> str:
    """Mint a TypeID; ids of one process sort in the order they were made."""
    return to_text(prefix, new_uuid())


def new_uuid() -> UUID:
    """Likewise, in the stored form."""
    _Minted.latest = max(uuid7().int, _Minted.latest + 1)
    return UUID(int=_Minted.latest)


def days_after(value: UUID, days: int) -> UUID:
    """An id of so many days later: its first 48 bits are milliseconds (RFC 9562, section 5.7)."""
    return UUID(int=value.int + (days * 86_400_000 << 80))


@lru_cache(maxsize=65_536)
def to_text(prefix: str, value: UUID) -> str:
    """The text form (TypeID specification 0.3): prefix, underscore, 26 characters of Crockford base32."""
    bits = value.int
    return f"{prefix}_{''.join([_PAIRS[bits >> shift & 1023] for shift in _SHIFTS])}"


def to_uuid(prefix: str, text: str) -> UUID:
    """The stored form; NIL for anything that is not a well-formed id with this prefix."""
    head, separator, suffix = text.rpartition("_")
    if not separator or head != prefix or len(suffix) != _SUFFIX:
        return NIL
    return _decoded(suffix)


@lru_cache(maxsize=65_536)
def _decoded(suffix: str) -> UUID:
    if suffix[0] > "7":
        return NIL
    if not (suffix.isascii() and suffix.isalnum()) or suffix != suffix.lower():  # int would read signs and capitals
        return NIL
    try:
        return UUID(int=int(suffix.translate(_TO_DIGITS), 32))
    except ValueError:
        return NIL


class TypeID(TypeDecorator[str]):
    """A uuid column that the program sees as TypeID text."""

    impl = Uuid
    cache_ok = True

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix

    def process_bind_param(self, value: Any, _dialect: Dialect) -> UUID | None:
        return None if value is None else to_uuid(self.prefix, value)

    def process_result_value(self, value: Any, _dialect: Dialect) -> str | None:
        return None if value is None else to_text(self.prefix, value)


def example_of(prefix: str) -> str:
    """What one with this prefix looks like."""
    return to_text(prefix, UUID("01920c5e-7a3b-7c4d-8e5f-60718293a4b5"))


def describe(prefix: str, noun: str) -> Meta:
    """What the API's documentation says about ids with this prefix; malformed ones are unknown, not invalid."""
    return Meta(
        description=f"Id of {noun}.",
        examples=[example_of(prefix)],
        extra_json_schema={"pattern": _form(prefix)},
        extra={_PREFIX: prefix},
    )


def describe_any(prefixes: Sequence[str], noun: str) -> Meta:
    """Likewise about ids that have one of these prefixes."""
    return Meta(
        description=f"Id of {noun}.",
        examples=[example_of(prefix) for prefix in prefixes],
        extra_json_schema={"pattern": _form(f"({'|'.join(prefixes)})")},
    )


def formed(annotation: Any) -> Any:
    """The same, and of what ``describe`` says is an id also its form.

    For filters: a malformed one finds nothing as an unknown one does, and nobody learns that it was mistyped.
    """
    kind = type_info(annotation)
    prefix = (kind.extra or {}).get(_PREFIX) if isinstance(kind, Metadata) else None
    if prefix is None:
        return annotation
    wanted = {WANTED: f"an id such as {example_of(prefix)}"}
    return Annotated[annotation, Meta(pattern=_form(prefix), extra=wanted)]


def _form(prefix: str) -> str:
    return f"^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{{_SUFFIX - 1}}}{END}"
