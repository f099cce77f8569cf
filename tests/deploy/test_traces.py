"""One trace from a request through the outbox into the job, as an OpenTelemetry collector gets it."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from insula.settings import Settings
from tests.deploy.fleet import Fleet
from tests.factories import World

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVER, CONSUMER = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CONSUMER


class Collector(ThreadingHTTPServer):
    """Takes spans as a collector does, and keeps them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.spans: list[tuple[str, Span]] = []
        """Each with the service that sent it."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"

    async def until(self, name: str) -> Span:
        """The span of that name in our trace, once it has come."""
        async with asyncio.timeout(30):
            while not (found := [span for _, span in self.spans if (span.name, span.trace_id.hex()) == (name, TRACE)]):
                await asyncio.sleep(0.1)
        return found[0]


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
        for resource in sent.resource_spans:
            service = next(
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            )
            self.server.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def said(span: Span) -> dict[str, str | int]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


async def test_a_request_and_its_job_are_one_trace(
    world: World, settings: Settings, collector: Collector, tmp_path: Path
) -> None:
    owner = await world.owner()
    traced = msgspec.structs.replace(
        settings, metrics_port=0, log_json=True, smtp_port=1, owner_database_url=None, traces_url=collector.url
    )
    headers = {"authorization": f"Bearer {owner.person.token}", "traceparent": f"00-{TRACE}-{CALLER}-01"}
    async with Fleet(traced, tmp_path, apis=1, workers=1) as fleet:
        api, worker = fleet.apis[0], fleet.workers[0]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.port}", timeout=30) as client:
            invited = {"email": "guest@example.com", "role": "member"}
            answer = await client.post(owner.url("/invitations"), json=invited, headers=headers)
            assert answer.status_code == 201
        await worker.says("job failed")
        request = await collector.until("POST /v1/organizations/{organization_id}/invitations")
        job = await collector.until("job invitations.send_invitation")
    assert (request.parent_span_id.hex(), job.parent_span_id) == (CALLER, request.span_id)
    assert (request.kind, job.kind) == (SERVER, CONSUMER)
    assert {service for service, _ in collector.spans} == {"insula-api", "insula-worker"}
    about = said(request)
    assert (about["http.response.status_code"], about["insula.tenant"]) == (201, owner.organization_id)
    assert about["insula.request_id"] == answer.headers["x-request-id"]
    assert (said(job)["insula.outcome"], job.status.code) == ("failed", 2)
    assert owner.person.token not in str(collector.spans)
    log = [msgspec.json.decode(line) for line in worker.log.read_text().splitlines()]
    assert TRACE in {line.get("trace_id") for line in log}


async def test_a_collector_that_is_away_costs_no_request(world: World, settings: Settings, tmp_path: Path) -> None:
    owner = await world.owner()
    traced = msgspec.structs.replace(
        settings, metrics_port=0, log_json=True, owner_database_url=None, traces_url="http://127.0.0.1:9/v1/traces"
    )
    headers = {"authorization": f"Bearer {owner.person.token}"}
    async with Fleet(traced, tmp_path, apis=1, workers=0) as fleet:
        url = f"http://127.0.0.1:{fleet.apis[0].port}{owner.url('/projects')}"
        async with httpx.AsyncClient(timeout=30) as client:
            answers = {(await client.get(url, headers=headers)).status_code for _ in range(20)}
        assert answers == {200}
        await fleet.apis[0].restart()  # ends in an orderly way, and without waiting for the collector
    lines = [msgspec.json.decode(line) for line in fleet.apis[0].log.read_text().splitlines()]
    stopped = [line["time"] for line in lines if line["message"] == "api stopped"]
    assert len(stopped) >= 1
