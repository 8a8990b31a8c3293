"""From checked input to a 202: the one place where events are handed to the broker for a client."""

import asyncio
from collections.abc import Callable, Sequence

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


async def accept(
    node: Node,
    topic: Topic,
    events: Sequence[UploadEvent | InteractionEvent],
    *,
    trace: str | None,
    refused: Callable[[], None] = lambda: None,
) -> None:
    """Return when the broker has all `events`.

    `refused` is called once it is certain that the broker will not have them. That may be after the answer: what waits for
    a broker that is away may still reach it.

    Raises:
        ApiError: 503 with Retry-After. Some may be in the broker; sending all again with their ids is safe.
    """
    queued = len(node.publisher)
    if queued > node.api.max_queued_events:
        refused()
        raise _not_taken(node, f"{queued} events wait for the broker already", events)
    sending = asyncio.ensure_future(node.publisher.publish(topic, events, trace=trace))

    def end(done: asyncio.Future[None]) -> None:
        if not done.cancelled() and done.exception() is not None:
            refused()

    sending.add_done_callback(end)
    try:
        await asyncio.wait_for(asyncio.shield(sending), node.api.accept_timeout_s)
    except (NotAccepted, TimeoutError) as error:
        raise _not_taken(node, str(error) or f"no answer within {node.api.accept_timeout_s:g} s", events) from error
    for event in events:
        node.metrics.accepted.labels(type(event).__name__).inc()


def busy(node: Node, message: str, events: Sequence[UploadEvent | InteractionEvent] = ()) -> ApiError:
    """Return the 503 for what can't be done now."""
    body = ErrorBody("busy", message, event_ids=[event.event_id for event in events])
    return ApiError(503, body, {"Retry-After": str(node.api.retry_after_s)})


def _not_taken(node: Node, reason: str, events: Sequence[UploadEvent | InteractionEvent]) -> ApiError:
    message = f"the broker did not take all of it ({reason}): send it again, with these event_ids, which makes it safe"
    return busy(node, message, events)
