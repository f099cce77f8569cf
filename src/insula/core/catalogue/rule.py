"""What a rule is."""

from collections.abc import Callable, Iterator

import msgspec

from insula.core.catalogue.facts import Catalogue

Problems = Iterator[tuple[str, str]]
"""Pairs: an object, and what is wrong with it."""


class Rule(msgspec.Struct, frozen=True):
    """One sentence that must be true of the database, named by the function that checks it."""

    check: Callable[[Catalogue], Problems]
    mend: str
    listed: bool = False
    """It asks a list of ours whether something may be there: the list of another release may have more on it."""
