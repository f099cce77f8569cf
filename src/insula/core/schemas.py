"""What may cross the process boundary: requests, answers and tasks."""

from datetime import datetime
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Self

import msgspec
from msgspec import Meta, inspect

MOST_BYTES: Final = "most_bytes"
"""In ``Meta(extra=...)`` of a body's field: how long its JSON may be, all parts of it together."""


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unknown fields are refused: silence would hide a typo, and mass assignment."""

    def __post_init__(self) -> None:
        for name, most in _bounded_fields(type(self)):
            if json_length(getattr(self, name)) > most:
                raise ValueError(f"{name}: {too_long(most)}")


class Write(_Body, frozen=True, kw_only=True):
    """A request body."""


class Change(_Body, frozen=True, kw_only=True, omit_defaults=True):
    """A PATCH body (RFC 7396): fields left out stay as they are; declare each as ``T | UnsetType = UNSET``."""

    def changes(self) -> dict[str, object]:
        """The fields the caller sent."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not msgspec.UNSET}


class Read(msgspec.Struct, frozen=True):
    """An answer."""

    MOVES: ClassVar[tuple[str, ...]] = ()
    """The fields that change without a new version: its entity tag holds them, so they are short and printable.

    The repository of what is shown then says in ``tag_of`` which tag is the current one.
    """

    @classmethod
    def of(cls, row: Any) -> Self:
        """A mapped row as the API shows it: its attributes of the same names."""
        return cls(*(getattr(row, "metadata_" if name == "metadata" else name) for name in cls.__struct_fields__))


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Work for later, carried by the outbox. It holds ids, numbers and moments: neither secrets nor personal data wait
    in queues.
    """

    NAME: ClassVar[str]
    """Stable across releases: rows in the outbox outlive the code that wrote them."""
    MAX_FAILURES: ClassVar[int] = 10
    """After so many failures of the handler the job is a dead letter."""
    QUEUE: ClassVar[str] = "default"
    """Whose workers run it. A queue of its own is for tasks that must not stand before those of others, or not behind
    them; a name is up to 31 small letters, digits and underscores, and begins with a letter."""


def json_length(value: Any) -> int:
    """The bytes of its JSON without spaces; none of what was left out."""
    return 0 if value is msgspec.UNSET else len(msgspec.json.encode(value))


def too_long(most: int) -> str:
    """What callers are told."""
    return f"at most {most} bytes of JSON in all"


@cache
def _bounded_fields(body: type[_Body]) -> list[tuple[str, int]]:
    kind = inspect.type_info(body)
    assert isinstance(kind, inspect.StructType)
    told = {field.name: field.type.extra or {} for field in kind.fields if isinstance(field.type, inspect.Metadata)}
    return [(name, extra[MOST_BYTES]) for name, extra in told.items() if MOST_BYTES in extra]


Timestamp = Annotated[datetime, Meta(tz=True)]
"""A moment in an answer, with its offset: only so does the document say that the text is a date and a time."""

WANTED: Final = "wanted"
"""In ``Meta(extra=...)`` beside a pattern: what it asks for, as callers who miss it are told."""

END = r"$(?!\n)"
"""The end of a pattern: Python's ``$`` alone also matches before a last line break."""

SURROGATES = r"\ud800-\udfff"
"""In a class of characters: halves of surrogate pairs, which Python's text can hold and no other text does."""

TEXT = rf"^[^\x00{SURROGATES}]*" + END
TEXT_WANTED = "text without NUL"
"""What any text may hold, and how that is said: PostgreSQL stores no NUL."""

QueueName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,30}" + END, extra={WANTED: "the name of a queue"})]
"""As ``Task.QUEUE`` says."""

Search = Annotated[str, Meta(max_length=200, pattern=TEXT, extra={WANTED: TEXT_WANTED})]
"""What the names that are looked for begin with."""

_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ufff9-\ufffb" + SURROGATES
"""Control characters and lone surrogates: NUL would not store, CR LF would split headers, bidi controls turn the text
around a name, in letters for instance."""

_FAR_UNSEEN = (
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e001f\U000e0080-\U000e00ff\U000e01f0-\U000e0fff"
)
_FAR_SHAPING = "\U000e0020-\U000e007f\U000e0100-\U000e01ef"
_NO_STRAY_TAGS = "(?![^\U0001f3f4]*[\U000e0020-\U000e007f])"
"""Tags spell out a region behind a flag, and anywhere else a text that only programs read."""
FAR = (_NO_STRAY_TAGS, _FAR_UNSEEN, _FAR_SHAPING)
"""In patterns: what is beyond U+FFFF, of which some languages' regular expressions see halves."""

_UNSEEN = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufff8"
    + _FAR_UNSEEN
)
"""What nobody sees: Default_Ignorable_Code_Point in Unicode's DerivedCoreProperties.txt, which no name has by RFC 8264,
section 9.13, either; but for those that follow."""

_JOINERS = r"\u200c\u200d"
_SHAPING = r"\u180b-\u180d\u180f\ufe00-\ufe0f" + _FAR_SHAPING + _JOINERS
"""Selectors of variants, tags of flags and joiners show in what stands before: scripts, surnames and emoji need it."""

_UNSHAPED = r"\x20-\x22\x24-\x29\x2b-\x2f\x3a-\x7e\u00a0-\u00a8\u00aa-\u00ad\u00af-\u052f"
"""Latin, Greek and Cyrillic, blanks and marks, without what emoji use of them: nothing shapes these, and two names
would look alike."""
_VIRAMAS = r"\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca"
"""A joiner behind one of these shows at the end of a name too (RFC 5892, appendix A.1 and A.2)."""

_NEVER = _UNSEEN + _CONTROLS
_BLANK = r"\s\u2800"
_FIRST, _LAST = f"[^{_BLANK}{_SHAPING}{_NEVER}]", f"([^{_BLANK}{_JOINERS}{_NEVER}]|[{_VIRAMAS}][{_JOINERS}])"
_LINE = f"{_NO_STRAY_TAGS}(?!.*[{_UNSHAPED}][{_SHAPING}]){_FIRST}([^{_NEVER}]*{_LAST})?{END}"

Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=f"^{_LINE}",
        description="One line of text, without characters that nobody sees.",
        examples=["Website relaunch"],
        extra={WANTED: "one line of text that is not blank, without blanks around it, control or invisible characters"},
    ),
]
"""A name people gave something: one line, not blank, and no blanks around it."""

_DOT = r".\u2024\u3002\uff0e\uff61"
_SLASH = r"\/\\\u2044\u2215\uff0f"
_MARK = r":?#\uff1a\uff1f\uff03"
"""Each with what browsers take for it (UTS #46, section 4), and what looks like it."""
_LABEL = rf"[^\s{_DOT}{_SLASH}{_MARK}]"
_HOST = rf"\S[{_DOT}]({_LABEL}*[{_DOT}])*{_LABEL}{{2,}}|[0-9]+([{_DOT}][0-9]+){{3}}"
"""Something with a dot in it; not so short an end as in e.V./ or 2.0/, but for addresses of four numbers."""
_NO_LINK = (
    rf"(?!.*([hH][tT]{{2}}[pP][sS]?[:\uff1a]|[:\uff1a][\/\uff0f]{{2}}|[wW\uff37\uff57]{{3}}[{_DOT}]"
    rf"|({_HOST})([{_SLASH}]|[{_MARK}]\S)))"
)
_NO_LINK_WANTED = (
    "one line of text that is not blank, without blanks around it, control or invisible characters, http:, ://,"
    " www. or example.com/ (it stands in letters, where it must not become a link)"
)

OrganizationName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=f"^{_NO_LINK}{_LINE}",
        description="One line of text without a link, since it stands in letters, or characters that nobody sees.",
        examples=["Acme"],
        extra={WANTED: _NO_LINK_WANTED},
    ),
]
"""What letters call an organization: our mail is not to carry a stranger's link."""

PersonName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=f"^{_NO_LINK}{_LINE}",
        description="One line of text without a link, since it stands in letters, or characters that nobody sees.",
        examples=["Ada Lovelace"],
        extra={WANTED: _NO_LINK_WANTED},
    ),
]
"""What letters call a person, likewise."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
"""What may stand between the dots of an address's local part (RFC 5322, section 3.2.3)."""

Email = Annotated[
    str,
    Meta(
        max_length=254,
        pattern=rf"^{_ATOM}(\.{_ATOM})*@([A-Za-z0-9]([A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?\.)+[A-Za-z]{{2,63}}" + END,
        description="An e-mail address; compared without regard to case.",
        examples=["ada@example.com"],
        extra={WANTED: "an e-mail address in ASCII, such as ada@example.com"},
    ),
]
"""An e-mail address in ASCII; look-alike letters of other scripts are refused (RFC 5321, section 4.1.2)."""

Metadata = Annotated[
    dict[
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=64,
                pattern=r"^[A-Za-z0-9_.-]+" + END,
                extra={WANTED: "as a key, letters, digits, _ . and - only"},
            ),
        ],
        Annotated[
            str,
            Meta(max_length=1000, pattern=TEXT, extra={WANTED: TEXT_WANTED}),
        ]
        | int
        | float
        | bool
        | None,
    ],
    Meta(
        max_length=50,
        description="Your own keys and values, up to 50, and up to 16384 bytes of JSON in all.",
        examples=[{"cost_center": "4711"}],
        extra={MOST_BYTES: 16_384},
    ),
]
"""What an API client keeps with a resource. Each change of it is written down twice more, before and after."""
