"""From checked input to a 202: the one place where events are handed to the broker for a client."""

import asyncio
from collections.abc import Sequence

from serving.errors import ApiError, ErrorBody, invalid
from serving.node import Node
from streams.codec import MAX_AGE_MS, MAX_AHEAD_MS
from streams.events import InteractionEvent, UploadEvent, time_of
from streams.kafka import NotAccepted
from streams.topics import Topic


def check_times(events: Sequence[UploadEvent | InteractionEvent], *, now_ms: int, field: str, batch: bool = False) -> None:
    """Raise the 422 for the first event that is too old, or too far in the future, for the stream to take."""
    oldest, newest = now_ms - MAX_AGE_MS, now_ms + MAX_AHEAD_MS
    for index, event in enumerate(events):
        at = time_of(event)
        if not oldest <= at <= newest:
            said = f"expected Unix ms from 7 days ago to 5 minutes ahead ({oldest} to {newest}), got {at}"
            raise invalid(said, field=field, index=index if batch else None)


async def accept(node: Node, topic: Topic, events: Sequence[UploadEvent | InteractionEvent], *, trace: str) -> None:
    """Return when the broker has all `events`.

    Raises:
        ApiError: 503 with Retry-After. Some may be in the broker; sending all again with their ids is safe.
    """
    queued = len(node.publisher)
    try:
        if queued > node.api.max_queued_events:
            raise NotAccepted(f"{queued} events wait for the broker already")
        await asyncio.wait_for(node.publisher.publish(topic, events, trace=trace), node.api.accept_timeout_s)
    except (NotAccepted, TimeoutError) as error:
        reason = str(error) or f"no answer within {node.api.accept_timeout_s:g} s"
        message = f"the broker did not take all of it ({reason}): send it again, with these event_ids, which makes it safe"
        body = ErrorBody("busy", message, event_ids=[event.event_id for event in events])
        raise ApiError(503, body, {"Retry-After": str(node.api.retry_after_s)}) from error
    for event in events:
        node.metrics.accepted.labels(type(event).__name__).inc()
