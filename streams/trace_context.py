"""The W3C trace context: `00-` the trace's id `-` the span's id `-` flags, as it travels in HTTP's and Kafka's headers.

Whether a trace is sampled stands in its last character: one look, before anything else, tells that there is nothing to do.
"""

import re

_CONTEXT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
# The lowest of the flags' eight bits is the one that says sampled.
_SAMPLED = frozenset("13579bdf")


def traceparent(trace_id: str, span_id: str, *, sampled: bool) -> str:
    """Return the trace context of these ids, in hex."""
    return f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"


def is_sampled(trace: str | None) -> bool:
    """Tell whether the trace context `trace` asks for spans."""
    return trace is not None and trace[-1:] in _SAMPLED


def parse(trace: str | None) -> tuple[str, str] | None:
    """Return the ids of a trace context, its trace's and its span's; None where it is missing or malformed."""
    found = _CONTEXT.fullmatch(trace) if trace is not None else None
    return None if found is None else (found[1], found[2])
