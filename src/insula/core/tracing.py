"""One trace from a request through the outbox into its jobs: its id always, its spans where somebody collects them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from insula.core.otlp import Exporter, Kind, Span

_CURRENT: ContextVar[str | None] = ContextVar("span", default=None)


class Traces:
    """The spans of this process; none until they are `going_to` somebody."""

    def __init__(self) -> None:
        self._exporter: Exporter | None = None

    @contextmanager
    def going_to(self, endpoint: str | None, share: float, part: str) -> Iterator[None]:
        """Send spans to an OTLP/HTTP ``endpoint`` while the block lasts; None sends nothing."""
        if endpoint is None:
            yield
            return
        from insula.core.otlp import Exporter  # noqa: PLC0415  # an SDK that the others need not load

        self._exporter = exporter = Exporter(endpoint, share, part)
        try:
            yield
        finally:
            self._exporter = None
            exporter.close()

    @contextmanager
    def span(self, kind: "Kind", parent: str | None) -> Iterator["Span | None"]:
        """A span that is the current one while the block lasts; ``parent`` is what `current` said elsewhere."""
        if self._exporter is None:
            yield None
            return
        span = self._exporter.begin(kind, parent)
        token = _CURRENT.set(f"{span.trace_id}-{span.span_id}")
        try:
            yield span
        finally:
            _CURRENT.reset(token)
            span.end()


def current(trace_id: str | None) -> str | None:
    """What a job carries away: the trace, and behind it the span that asked for the job, where there is one."""
    return _CURRENT.get() or trace_id


def trace_id_of(carried: str | None) -> str | None:
    """The trace of what a job carries."""
    return carried and carried.partition("-")[0]


TRACES: Final = Traces()
