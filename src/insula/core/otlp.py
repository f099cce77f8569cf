"""Spans on their way to an OpenTelemetry collector, by its own SDK; imported only where somebody asks for them."""

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from insula.core.tracing import Kind

_PATIENCE_SECONDS: Final = 2
"""So long a process that ends waits at most for a collector that is away."""
_KINDS: Final[dict[Kind, SpanKind]] = {"request": SpanKind.SERVER, "job": SpanKind.CONSUMER}


class OtlpSpan:
    """Something that takes its time: its ids, as hexadecimal digits, and what is said about it."""

    def __init__(self, span: Any) -> None:
        self._span, context = span, span.get_span_context()
        self.trace_id, self.span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"

    def describe(self, name: str, attributes: Mapping[str, str | int], *, failed: bool) -> None:
        """Say what it was, when that is known."""
        self._span.update_name(name)
        self._span.set_attributes(attributes)
        if failed:
            self._span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        """It is over."""
        self._span.end()


class OtlpExporter:
    """Sends spans over OTLP/HTTP, in batches, from a thread of its own; where the collector is away they are lost.

    ``share`` of all traces is sent, chosen by their ids, so that all processes choose the same ones. Whether the caller
    chose theirs is not asked.
    """

    def __init__(self, endpoint: str, share: float, part: str) -> None:
        resource = Resource.create({"service.namespace": "insula", "service.name": f"insula-{part}"})
        self._provider = TracerProvider(resource=resource, sampler=TraceIdRatioBased(share))
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=_PATIENCE_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("insula")

    def begin(self, kind: Kind, parent: str | None) -> OtlpSpan:
        """A span that belongs to ``parent``: a trace's and a span's id, with a hyphen between them."""
        return OtlpSpan(self._tracer.start_span(kind, _context_of(parent), _KINDS[kind]))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def _context_of(parent: str | None) -> Context:
    """An empty one for what names no span: a row's trace is text, and a job must not fail for it."""
    return TraceContextTextMapPropagator().extract({"traceparent": f"00-{parent}-01"}, Context())
