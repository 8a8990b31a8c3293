"""Traces: which are recorded, how their spans hang together, and where they go, without a broker."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from streams.events import Event, Span
from streams.flows import profile, rerank
from streams.flows.feature_io import Readable
from streams.flows.perceive import titler
from streams.flows.perceive_video import PerceiveLogic, Titled
from streams.flows.reachable import Reachable
from streams.flows.workers import Workers
from streams.ports import PlanRequest
from streams.settings import FlowSettings, TelemetrySettings
from streams.state.engagement import Engaged
from streams.topics import SPANS, Topic
from streams.trace_context import is_sampled, parse, traceparent
from streams.tracing import UNTRACED, Tracer, open_tracer
from tests.streams.test_flows import RankerInMemory
from tests.streams.test_perceive_video import Perceiver
from tests.streams.world import NOW, FeaturesInMemory, VideosInMemory, interaction, received, upload

TRACE_ID, CLIENT = "a" * 32, "b" * 16
SAMPLED, UNSAMPLED = f"00-{TRACE_ID}-{CLIENT}-01", f"00-{TRACE_ID}-{CLIENT}-00"


@dataclass
class Sent:
    """A broker for spans, in a list."""

    spans: list[Span] = field(default_factory=list)

    def send(self, topic: Topic, event: Event) -> None:
        assert topic is SPANS
        assert isinstance(event, Span)
        self.spans.append(event)

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def tracer(sent: Sent) -> Iterator[Tracer]:
    tracer = open_tracer("test", TelemetrySettings(), sent)
    yield tracer
    tracer.close()


# ── the context ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_context_is_read_back_as_it_was_written() -> None:
    for sampled in (True, False):
        made = traceparent(TRACE_ID, CLIENT, sampled=sampled)
        assert parse(made) == (TRACE_ID, CLIENT)
        assert is_sampled(made) is sampled


@pytest.mark.parametrize(
    "given",
    [
        None, "", "0", "1", "nonsense-1", f"00-{'0' * 32}-{CLIENT}-01", f"00-{TRACE_ID}-{'0' * 16}-01",
        f"01-{TRACE_ID}-{CLIENT}-01", f"00-{TRACE_ID}-{CLIENT}-01\n", f"00-{TRACE_ID.upper()}-{CLIENT}-01",
    ],
)  # fmt: skip
def test_what_is_no_context_is_never_traced(given: str | None, tracer: Tracer, sent: Sent) -> None:
    assert parse(given) is None
    tracer.record("tap", given, started_at=NOW)
    assert sent.spans == []


def test_flags_that_say_sampled_and_more_are_sampled_too() -> None:
    assert is_sampled(f"00-{TRACE_ID}-{CLIENT}-03")
    assert not is_sampled(f"00-{TRACE_ID}-{CLIENT}-02")


# ── recording ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_span_continues_its_trace_and_what_it_causes_continues_it(tracer: Tracer, sent: Sent) -> None:
    with tracer.start("tap", SAMPLED, started_at=NOW + 0.25, user_id="ann") as tap:
        tap.set(action="like", events=2)
        plan = tracer.record("rerank.plan", tap.trace, started_at=NOW + 1.0, ended_at=NOW + 3.5)
    assert sent.names == ["rerank.plan", "tap"]
    child, parent = sent.spans
    assert parent.trace_id == child.trace_id == TRACE_ID
    assert (parent.parent_id, child.parent_id) == (CLIENT, parent.span_id)
    assert parse(plan) == (TRACE_ID, child.span_id)
    assert is_sampled(plan)
    assert (child.started_at, child.took_ms) == pytest.approx((NOW + 1.0, 2.5), abs=0.01)
    assert parent.started_at == pytest.approx(NOW + 0.25, abs=0.01)
    assert (parent.user_id, parent.attributes, parent.process) == ("ann", {"action": "like", "events": "2"}, "test")


def test_a_trace_that_is_not_sampled_passes_through_unchanged(tracer: Tracer, sent: Sent) -> None:
    with tracer.start("tap", UNSAMPLED) as tap:
        tap.set(action="like")
    assert tap.trace == UNSAMPLED
    assert not tap.is_recorded
    assert tracer.record("tap", UNSAMPLED, started_at=NOW) == UNSAMPLED
    assert tracer.record("tap", None, started_at=NOW) is None
    assert sent.spans == []


def test_without_anyone_to_see_it_a_sampled_trace_passes_through_unchanged() -> None:
    assert UNTRACED.record("tap", SAMPLED, started_at=NOW) == SAMPLED


def test_a_span_whose_work_failed_says_with_what(tracer: Tracer, sent: Sent) -> None:
    with pytest.raises(ConnectionError), tracer.start("tap", SAMPLED):
        raise ConnectionError("the broker is away")
    assert sent.spans[0].attributes == {"error": "ConnectionError"}


def test_a_clock_ahead_of_ours_makes_no_negative_time(tracer: Tracer, sent: Sent) -> None:
    tracer.record("profile.read", SAMPLED, started_at=NOW + 50, ended_at=NOW)
    assert sent.spans[0].took_ms == 0


def test_a_sender_that_fails_fails_nobody() -> None:
    class Broken:
        def send(self, topic: Topic, event: Event) -> None:
            raise RuntimeError("no room")

    tracer = open_tracer("test", TelemetrySettings(), Broken())
    assert is_sampled(tracer.record("tap", SAMPLED, started_at=NOW))


# ── the flows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_event_is_told_of_when_read_counted_and_readable_once_for_each_trace(tracer: Tracer, sent: Sent) -> None:
    logic = profile.ViewerLogic(None, VideosInMemory(), FeaturesInMemory(), tracer)
    events = [received(interaction(n), trace=SAMPLED if n < 3 else UNSAMPLED) for n in range(5)]
    out = list(logic.on_batch(events)[0])
    assert sent.names == ["profile.read", "profile.update"]
    (readable,) = [item for item in out if isinstance(item, Readable)]
    assert readable.then is not None
    readable.then()
    assert sent.names == ["profile.read", "profile.update", "profile.write"]
    read, update, write = sent.spans
    assert {span.parent_id for span in sent.spans} == {CLIENT}
    assert {span.user_id for span in sent.spans} == {"ann"}
    assert read.started_at == pytest.approx(NOW, abs=0.01)
    assert update.started_at == pytest.approx(read.started_at + read.took_ms, abs=0.01)
    assert write.started_at == pytest.approx(update.started_at + update.took_ms, abs=0.01)
    assert {item.trace for item in out if isinstance(item, Engaged)} == {SAMPLED}


def test_events_that_are_not_sampled_leave_no_trace_in_the_flow(tracer: Tracer, sent: Sent) -> None:
    logic = profile.ViewerLogic(None, VideosInMemory(), FeaturesInMemory(), tracer)
    out = list(logic.on_batch([received(interaction(n), trace=UNSAMPLED) for n in range(5)])[0])
    assert [item.then for item in out if isinstance(item, Readable)] == [None]
    assert {item.trace for item in out if isinstance(item, Engaged)} == {None}
    assert sent.spans == []


def test_a_plan_is_told_of_from_the_tap_that_led_to_it_and_carries_the_trace_on(tracer: Tracer, sent: Sent) -> None:
    make = rerank.planner(RankerInMemory(), FeaturesInMemory(), FlowSettings(), lambda: NOW, tracer)
    request = PlanRequest(user_id="ann", trigger="skip streak", pool=("v1", "v2"), asked_at=NOW)
    _, send = make(rerank.Asked(request, SAMPLED, NOW))
    (span,) = sent.spans
    assert (span.name, span.parent_id, span.user_id) == ("rerank.plan", CLIENT, "ann")
    assert span.attributes == {"trigger": "skip streak", "pool": "2", "policy": "test-1"}
    assert parse(send.trace) == (TRACE_ID, span.span_id)


def test_an_upload_is_told_of_when_its_title_and_its_frames_were_perceived(tracer: Tracer, sent: Sent) -> None:
    perceiver = Perceiver()
    clip = received(upload("v1", media_uri="file:///clips/v1.mp4"), trace=SAMPLED)
    plain = received(upload("v2"), trace=UNSAMPLED)
    titled = list(titler(Reachable(perceiver), tracer)([("v1", clip), ("v2", plain)]))
    assert sent.names == ["perceive.title"]
    logic = PerceiveLogic(
        None, perceiver, Workers(1), FeaturesInMemory(), lambda _: 0, FlowSettings(), lambda: NOW, tracer
    )  # fmt: skip
    logic.on_batch([item for key, item in titled if key == "v1" and isinstance(item, Titled)])
    logic.on_notify()
    until(lambda: len(sent.spans) == 2)
    assert sent.names == ["perceive.title", "perceive.frames"]
    assert {span.user_id for span in sent.spans} == {clip.event.author_id}


# ── OTLP ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def until(done: Callable[[], bool], deadline_s: float = 20.0) -> None:
    end = time.monotonic() + deadline_s
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@contextmanager
def collector(requests: list[ExportTraceServiceRequest], *, status: int = 200) -> Iterator[str]:
    """Serve as a collector of traces does, over HTTP, and give the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.headers["Content-Type"] == "application/x-protobuf"
            requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces"
    finally:
        server.shutdown()
        server.server_close()


def test_a_collector_gets_every_span_with_its_parent_its_times_and_its_service(sent: Sent) -> None:
    requests: list[ExportTraceServiceRequest] = []
    with collector(requests) as endpoint:
        tracer = open_tracer("flow-profile", TelemetrySettings(otlp_endpoint=endpoint), sent)
        with tracer.start("tap", SAMPLED, started_at=NOW, user_id="ann") as tap:
            tap.set(action="like", events=2)
        tracer.record("profile.read", tap.trace, started_at=NOW + 1, ended_at=NOW + 2)
        tracer.record("profile.read", UNSAMPLED, started_at=NOW)
        tracer.close()
    (request,) = requests
    (of_process,) = request.resource_spans
    resource = {item.key: item.value.string_value for item in of_process.resource.attributes}
    assert resource["service.name"] == "headwater-flow-profile"
    parent, child = of_process.scope_spans[0].spans
    assert (parent.name, child.name) == ("tap", "profile.read")
    assert parent.trace_id.hex() == child.trace_id.hex() == TRACE_ID
    assert parent.parent_span_id.hex() == CLIENT
    assert child.parent_span_id == parent.span_id
    assert (child.start_time_unix_nano, child.end_time_unix_nano) == ((NOW + 1) * 10**6, (NOW + 2) * 10**6)
    attributes = {item.key: item.value for item in parent.attributes}
    assert (attributes["user.id"].string_value, attributes["action"].string_value) == ("ann", "like")
    assert attributes["events"].int_value == 2
    assert {span.span_id for span in sent.spans} == {parent.span_id.hex(), child.span_id.hex()}


def test_a_collector_that_is_away_neither_loses_the_page_its_spans_nor_holds_up_a_stop(sent: Sent) -> None:
    tracer = open_tracer("api", TelemetrySettings(otlp_endpoint="http://127.0.0.1:9/v1/traces"), sent)
    for _ in range(100):
        tracer.record("tap", SAMPLED, started_at=NOW)
    assert len(sent.spans) == 100
    closing = threading.Thread(target=tracer.close)
    closing.start()
    closing.join(10.0)
    assert not closing.is_alive()
