"""The words that labels of the program's metrics may say: rules ask for no others, and no test hears others."""

from itertools import chain
from typing import Final, get_args

from insula.core import metrics
from insula.core.http.health import HEALTH_ROUTES
from insula.core.runner import Outcome

_VERDICTS: Final = {
    "admitted",
    "member_suspended",
    "organization_deleted",
    "organization_suspended",
    "stranger",
    "unauthenticated",
}
_HAPPENED: Final = {
    "accepted",
    "asked",
    "changed",
    "link_invalid",
    "over",
    "refused",
    "reset",
    "revoked",
    "signed_out",
}

WORDS: Final[dict[str, dict[str, set[str]]]] = {
    "auth": {
        "kind": {"password", "reset", "session", "sign_in", "sign_up", "verification"},
        "outcome": _VERDICTS | _HAPPENED | {"shed"},
    },
    "jobs": {"outcome": {*get_args(Outcome), "crashed", "lost"}},
    "outbox_oldest_seconds": {"served": {"yes", "no"}},
    "rate_limit_decisions": {"outcome": {"allowed", "refused", "allowed_alone", "refused_alone"}},
    "replica_reads": {"outcome": {"admitted", "away", "behind", "primary", "refused"}},
}
"""Metric -> label -> what the code spells."""

OTHERS: Final[dict[str, dict[str, set[str]]]] = {
    "http_requests": {
        "route": set(chain.from_iterable(route.paths for route in HEALTH_ROUTES)),
        "status": {str(status) for status in range(100, 600)},
    },
    "http_request_seconds": {
        "route": set(chain.from_iterable(route.paths for route in HEALTH_ROUTES)),
        "le": {str(bound) for bound in metrics.HTTP_SECONDS._upper_bounds},
    },
}
"""Likewise of labels with more values than those that a rule has reason to name."""


def invented() -> list[str]:
    """A line for each word in the metrics of this process that is not listed."""
    return sorted(
        f"{family.name}{{{label}={sample.labels[label]!r}}}"
        for family in metrics.REGISTRY.collect()
        for sample in family.samples
        for label, words in WORDS.get(family.name, {}).items()
        if sample.labels[label] not in words
    )
