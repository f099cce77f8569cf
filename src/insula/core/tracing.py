"""One trace from a request through the outbox into its jobs: its id always, its spans where somebody collects them."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Final, Literal, Protocol

Kind = Literal["request", "job"]

_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}(?=-|\Z)")
_CURRENT: ContextVar[str | None] = ContextVar("span", default=None)


class Span(Protocol):
    """Something that takes its time: its ids, as hexadecimal digits, and what is said about it."""

    trace_id: str
    span_id: str

    def describe(self, name: str, attributes: Mapping[str, str | int], *, failed: bool) -> None:
        """Say what it was, when that is known."""

    def end(self) -> None:
        """It is over."""


class Exporter(Protocol):
    """Where spans are made and sent from."""

    def begin(self, kind: Kind, parent: str | None) -> Span:
        """A span that belongs to ``parent``: a trace's and a span's id, with a hyphen between them."""

    def close(self) -> None:
        """Send what is left."""


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
        # An SDK that takes its time and memory, which most processes need not load.
        exporter = self._exporter = import_module("insula.core.otlp").OtlpExporter(endpoint, share, part)
        try:
            yield
        finally:
            self._exporter = None
            exporter.close()

    @contextmanager
    def span(self, kind: Kind, parent: str | None) -> Iterator[Span | None]:
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
    """The trace of what a job carries; None for a text that names none: rows may be written by other programs."""
    named = carried and _TRACE_ID.match(carried)
    return named[0] if named else None


TRACES: Final = Traces()
