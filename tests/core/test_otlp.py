"""A job's span belongs to the request that asked for it, and to none where its row names none."""

from collections.abc import Iterator

import pytest

from insula.core.otlp import OtlpExporter

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NAMELESS = "0" * 16


@pytest.fixture
def exporter() -> Iterator[OtlpExporter]:
    sends_nothing = OtlpExporter("http://127.0.0.1:9/v1/traces", 0, "worker")
    yield sends_nothing
    sends_nothing.close()


def test_a_job_goes_on_with_the_trace_that_its_row_carries(exporter: OtlpExporter) -> None:
    assert exporter.begin("job", f"{TRACE}-{SPAN}").trace_id == TRACE


@pytest.mark.parametrize(
    "carried", [None, "", TRACE, "zz-zz", f"{TRACE}-{SPAN}-01", f"{TRACE}-{NAMELESS}", f"{TRACE}-"]
)
def test_a_row_that_names_no_span_begins_a_trace(exporter: OtlpExporter, carried: str | None) -> None:
    assert exporter.begin("job", carried).trace_id not in {TRACE, "0" * 32}
