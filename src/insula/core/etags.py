"""Entity tags: what somebody has read of a resource (RFC 9110, section 8.8.3)."""

from typing import Any

import msgspec

ETags = frozenset[str]
"""What stands between the quotes of those that a write is based on: one of them must be the current one."""


def tag_of(shown: Any) -> str | None:
    """What stands between the quotes of an answer's entity tag; None for what has no version.

    The version alone, where nothing else changes what is shown; what ``MOVES`` as well is part of the tag, which then
    names one answer and no other: a strong validator, for If-Match and If-None-Match alike (section 8.8.1).
    """
    version = getattr(shown, "version", None)
    if version is None:
        return None
    parts = (version, *(getattr(shown, name) for name in getattr(shown, "MOVES", ())))
    # As JSON spells them, not Python; quotes would end the tag.
    return ".".join(msgspec.json.encode(part).decode().strip('"') for part in parts)
