"""What clients send, before it is an event: ids and times may be absent, and are given here."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from serving.node import new_id
from streams.events import (
    Action,
    DurationMs,
    Id,
    Instruction,
    Interaction,
    Language,
    Position,
    Tag,
    Text,
    UnixMs,
    Upload,
    Uri,
    WatchMs,
)


class SessionIn(Struct, frozen=True, kw_only=True):
    """A key to sign in with."""

    key: Annotated[str, Meta(min_length=1, max_length=512)]

    def __repr__(self) -> str:
        return "SessionIn(…)"


class UploadIn(Struct, frozen=True, kw_only=True):
    """A video or live room to announce; one with a `media_uri` is fetched from there."""

    author_id: Id
    title: Text
    video_id: Id | None = None
    media_uri: Uri | None = None
    tags: Annotated[tuple[Tag, ...], Meta(max_length=32)] = ()
    language: Language = "und"
    duration_ms: DurationMs | None = None
    kind: Literal["video", "live"] = "video"
    event_id: Id | None = None
    uploaded_at: UnixMs | None = None

    def event(self, *, now_ms: int) -> Upload:
        """Return the event."""
        return Upload(
            event_id=self.event_id or new_id(),
            video_id=self.video_id or new_id(),
            author_id=self.author_id,
            title=self.title,
            uploaded_at=now_ms if self.uploaded_at is None else self.uploaded_at,
            media_uri=self.media_uri,
            tags=self.tags,
            language=self.language,
            duration_ms=self.duration_ms,
            kind=self.kind,
        )


class InteractionIn(Struct, frozen=True, kw_only=True):
    """What a viewer did with a video; `request_id` and `position` are those of the page it was on."""

    user_id: Id
    video_id: Id
    action: Action
    event_id: Id | None = None
    occurred_at: UnixMs | None = None
    request_id: Id | None = None
    session_id: Id | None = None
    position: Position | None = None
    watch_ms: WatchMs | None = None

    def event(self, *, now_ms: int) -> Interaction:
        """Return the event."""
        return Interaction(
            event_id=self.event_id or new_id(),
            user_id=self.user_id,
            video_id=self.video_id,
            action=self.action,
            occurred_at=now_ms if self.occurred_at is None else self.occurred_at,
            request_id=self.request_id,
            session_id=self.session_id,
            position=self.position,
            watch_ms=self.watch_ms,
        )


class InstructionIn(Struct, frozen=True, kw_only=True):
    """What a viewer asks of the feed in words."""

    user_id: Id
    text: Annotated[str, Meta(min_length=1, max_length=500)]
    event_id: Id | None = None
    occurred_at: UnixMs | None = None

    def event(self, *, now_ms: int) -> Instruction:
        """Return the event."""
        return Instruction(
            event_id=self.event_id or new_id(),
            user_id=self.user_id,
            text=self.text,
            occurred_at=now_ms if self.occurred_at is None else self.occurred_at,
        )
