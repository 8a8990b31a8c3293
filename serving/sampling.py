"""Which requests are traced: those whose client asks for it, and a share of the others where a collector wants them."""

import random
import secrets
from collections.abc import Callable

from serving.limits import Rate
from streams.settings import TelemetrySettings
from streams.trace_context import is_sampled, parse, traceparent


class Sampling:
    """Decides once, where a trace begins; all that follows keeps to it."""

    def __init__(self, settings: TelemetrySettings, draw: Callable[[], float] = random.random) -> None:
        most = settings.max_sampled_per_s
        self._share = settings.sample_share if settings.otlp_endpoint else 0.0
        self._draw = draw
        self._rate = Rate(most, most) if most else None

    def context(self, given: str | None) -> str:
        """Return the trace context of a request that came with the traceparent `given`, if with one at all."""
        ids = parse(given)
        if ids is None:
            return traceparent(secrets.token_hex(16), secrets.token_hex(8), sampled=self._draw() < self._share and self._room())
        return traceparent(*ids, sampled=is_sampled(given) and self._room())

    def _room(self) -> bool:
        if self._rate is None or self._rate.wait_s("traces"):
            return False
        self._rate.take("traces")
        return True
