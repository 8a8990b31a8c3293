"""Traces of sampled taps and uploads, from the API through the flows and back: to the topic `spans`, and by OTLP if asked for.

The context travels in Kafka's headers (`streams.trace_context`); for a trace that is not sampled nothing is done.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from opentelemetry import trace as otel
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from streams.events import Event, Span
from streams.settings import TelemetrySettings
from streams.topics import SPANS, Topic
from streams.trace_context import is_sampled, parse, traceparent

log = logging.getLogger(__name__)

Value = str | int | float

_USER = "user.id"
# What a collector that is away may cost: a request, and then a stop, waits for it this long.
_EXPORT_TIMEOUT_S = 2.0
# As the SDK's own, in spans: at 20 traces a second, more than ten seconds without a collector.
_EXPORT_QUEUE = 2048


def precise_now() -> float:
    """Return the time, Unix ms with its fraction."""
    return time.time_ns() / 1e6


class Sender(Protocol):
    """Where spans go that may be lost; `LossyProducer` is one."""

    def send(self, topic: Topic, event: Event) -> None: ...


class OpenSpan:
    """A span that has begun: `trace` is the context that what it causes continues. Ends with its block."""

    def __init__(self, trace: str | None, span: otel.Span | None = None) -> None:
        self.trace = trace
        self._span = span

    @property
    def is_recorded(self) -> bool:
        """Tell whether anyone will see it: attributes that cost something to make need not be made otherwise."""
        return self._span is not None

    def set(self, **attributes: Value) -> None:
        """Add attributes."""
        if self._span is not None:
            self._span.set_attributes(attributes)

    def end(self, ended_at: float | None = None) -> None:
        """End it, at `ended_at` (Unix ms) or now."""
        if self._span is not None:
            self._span.end(_nanoseconds(precise_now() if ended_at is None else ended_at))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.set(error=type(error).__name__)
        self.end()


class Tracer:
    """Records the spans of one process. Safe to use from several threads; without processors nobody sees them."""

    def __init__(self, process: str, *processors: SpanProcessor) -> None:
        self._provider = TracerProvider(
            # Who is sampled was decided where the trace began.
            sampler=ALWAYS_ON,
            resource=Resource.create({"service.name": f"headwater-{process}"}),
            shutdown_on_exit=False,
        )
        for processor in processors:
            self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("headwater")
        self._recorded = bool(processors)

    def start(self, name: str, trace: str | None, *, started_at: float | None = None, user_id: str = "") -> OpenSpan:
        """Begin a span of `trace`, at `started_at` (Unix ms) or now; of a trace that is not sampled it is none."""
        if not is_sampled(trace) or not self._recorded:
            return OpenSpan(trace)
        ids = parse(trace)
        if ids is None:
            return OpenSpan(trace)
        trace_id, parent_id = ids
        parent = SpanContext(int(trace_id, 16), int(parent_id, 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
        span = self._tracer.start_span(
            name,
            otel.set_span_in_context(NonRecordingSpan(parent)),
            attributes={_USER: user_id} if user_id else None,
            start_time=_nanoseconds(precise_now() if started_at is None else started_at),
        )
        span_id = f"{span.get_span_context().span_id:016x}"
        return OpenSpan(traceparent(trace_id, span_id, sampled=True), span)

    def record(
        self,
        name: str,
        trace: str | None,
        *,
        started_at: float,
        ended_at: float | None = None,
        user_id: str = "",
        attributes: Mapping[str, Value] | None = None,
    ) -> str | None:
        """Record a span that is over, and return the context that what it caused continues."""
        span = self.start(name, trace, started_at=started_at, user_id=user_id)
        if attributes:
            span.set(**attributes)
        # Another machine's clock may be ahead of ours.
        span.end(max(started_at, precise_now() if ended_at is None else ended_at))
        return span.trace

    def close(self) -> None:
        """Send what is recorded, within about two seconds."""
        self._provider.shutdown()


UNTRACED = Tracer("untraced")


def open_tracer(process: str, settings: TelemetrySettings, sender: Sender) -> Tracer:
    """Return the tracer of a process: its spans go to the topic `spans` at once, and to `telemetry.otlp_endpoint` by and by."""
    processors: list[SpanProcessor] = [SimpleSpanProcessor(TopicExporter(process, sender))]
    if settings.otlp_endpoint:
        processors.append(_otlp(settings.otlp_endpoint))
    return Tracer(process, *processors)


class TopicExporter(SpanExporter):
    """Sends spans to the topic `spans`, where the pages see them while they happen."""

    def __init__(self, process: str, sender: Sender) -> None:
        self._process = process
        self._sender = sender

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            self._sender.send(SPANS, _event(span, self._process))
        return SpanExportResult.SUCCESS


def _event(span: ReadableSpan, process: str) -> Span:
    attributes = {name: _text(value) for name, value in (span.attributes or {}).items()}
    started_at, ended_at = span.start_time or 0, span.end_time or 0
    context = span.get_span_context()
    assert context is not None, "a span that has ended has a context"
    return Span(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        name=span.name,
        process=process,
        started_at=started_at / 1e6,
        took_ms=(ended_at - started_at) / 1e6,
        parent_id="" if span.parent is None else f"{span.parent.span_id:016x}",
        user_id=attributes.pop(_USER, ""),
        attributes=attributes,
    )


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


class _OtlpProcessor(BatchSpanProcessor):
    """The SDK's, which at a stop would wait half a minute for a collector that is away."""

    def shutdown(self) -> None:
        giving_up = threading.Timer(_EXPORT_TIMEOUT_S, self.span_exporter.shutdown)
        giving_up.daemon = True
        giving_up.start()
        super().shutdown()  # type: ignore[no-untyped-call]
        giving_up.cancel()


def _otlp(endpoint: str) -> SpanProcessor:
    # Imported by those who use it: it brings an HTTP client and protobuf along.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return _OtlpProcessor(OTLPSpanExporter(endpoint, timeout=_EXPORT_TIMEOUT_S), max_queue_size=_EXPORT_QUEUE)


def _nanoseconds(at: float) -> int:
    # A double has no more than microseconds of Unix time.
    return round(at * 1e3) * 1000
