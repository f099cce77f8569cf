"""What PromQL speaks of, as far as the tests need to know: the names of metrics and of labels."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_FUNCTIONS_AND_WORDS: Final = frozenset({"and", "bool", "by", "inf", "nan", "offset", "on", "or", "unless", "vector"})
_TEXT: Final = re.compile(r"\"[^\"]*\"")
_GROUPING: Final = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
_RANGE: Final = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_SELECTOR: Final = re.compile(r"(?<![\w:$.])([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\})?(?!\w)(?!\s*\()")
_MATCHED: Final = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{((?:[^}\"]|\"[^\"]*\")*)\}")
_MATCHER: Final = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"")


class Matcher(NamedTuple):
    """One condition on a label, as an expression sets it."""

    metric: str
    label: str
    alternatives: tuple[str, ...]
    """Regular expressions, of which a value must match one."""


class Selector(NamedTuple):
    """One metric as an expression names it, with the labels it is asked for."""

    metric: str
    labels: frozenset[str]


def selectors(expression: str) -> Iterator[Selector]:
    """Every metric of an expression."""
    bare = _RANGE.sub(" ", _GROUPING.sub(" ", _TEXT.sub('""', expression)))
    for name, labels in _SELECTOR.findall(bare):
        if name not in _FUNCTIONS_AND_WORDS:
            yield Selector(name, frozenset(re.findall(r"(\w+)\s*[=!]", labels)))


def matchers(expression: str) -> Iterator[Matcher]:
    """Every condition on a label's value."""
    for metric, conditions in _MATCHED.findall(expression):
        for label, operator, value in _MATCHER.findall(conditions):
            alternatives = value.split("|") if "~" in operator else [re.escape(value)]
            yield Matcher(metric, label, tuple(alternatives))


def grouped_by(expression: str) -> set[str]:
    """The labels that an expression groups by."""
    return {label for labels in _GROUPING.findall(_TEXT.sub('""', expression)) for label in re.findall(r"\w+", labels)}
