"""What the API answers."""

from urllib.parse import quote, urlsplit

from msgspec import Struct

from serving.catalogue import Card
from serving.feed.page import Page, StageTrace
from serving.node import Check
from serving.purges import Store


class SessionView(Struct, frozen=True):
    """Whether everyone may do everything here, and what this browser may do."""

    open: bool
    scopes: list[str]


class Alive(Struct, frozen=True):
    status: str


class Ready(Struct, frozen=True):
    """Whether requests may be sent here: "ready", "degraded" where the feed goes on without something, or "not ready"."""

    status: str
    videos: int
    checks: list[Check]


class UploadAccepted(Struct, frozen=True):
    event_id: str
    video_id: str
    media_uri: str | None


class InteractionsAccepted(Struct, frozen=True):
    accepted: int
    event_ids: list[str]


class EventAccepted(Struct, frozen=True):
    event_id: str


class FeedItem(Struct, frozen=True, kw_only=True):
    """One place of a page. `reason` says why in words for the viewer; `new` marks a place kept for new videos."""

    video_id: str
    position: int
    title: str
    author_id: str
    topics: tuple[str, ...]
    media_url: str | None
    poster_url: str | None
    duration_ms: int | None
    kind: str
    uploaded_at: int
    score: float
    propensity: float
    source: str
    reason: str
    new: bool


class ItemTrace(Struct, frozen=True, kw_only=True):
    """Who found a video, and the parts that add up to its score."""

    video_id: str
    found_by: tuple[str, ...]
    parts: dict[str, float]


class FeedTrace(Struct, frozen=True):
    stages: tuple[StageTrace, ...]
    items: list[ItemTrace]


class FeedPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page; `as_of` is when the viewer's features were true, `trace` is there with `explain=true`."""

    request_id: str
    user_id: str
    items: list[FeedItem]
    as_of: int
    policy_version: str
    trace: FeedTrace | None = None


class VideoView(Struct, frozen=True, kw_only=True):
    """A video as the catalogue knows it; `stage` is "title" or "frames", how far it was perceived."""

    video_id: str
    author_id: str
    title: str
    kind: str
    stage: str
    summary: str
    topics: tuple[str, ...]
    tags: tuple[str, ...]
    language: str
    media_url: str | None
    poster_url: str | None
    duration_ms: int | None
    uploaded_at: int
    perceived_at: int


class VideoViews(Struct, frozen=True):
    videos: list[VideoView]


class Forgotten(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a takedown or an erasure, store by store; complete when no store is pending."""

    event_id: str
    complete: bool
    stores: list[Store]
    video_id: str | None = None
    user_id: str | None = None


def media_url(card: Card) -> str | None:
    """Return where a client finds the media: here for a local file, else where its owner keeps it."""
    uri = card.video.media_uri
    if uri is None or urlsplit(uri).scheme != "file":
        return uri
    return f"/v1/videos/{quote(card.video.video_id, safe='')}/media"


def poster_url(card: Card) -> str | None:
    """Return where a client finds a still: only files that lie here have one."""
    uri = card.video.media_uri
    if uri is None or urlsplit(uri).scheme != "file":
        return None
    return f"/v1/videos/{quote(card.video.video_id, safe='')}/poster"


def video_view(card: Card) -> VideoView:
    """Return what to tell of a video."""
    video = card.video
    return VideoView(
        video_id=video.video_id,
        author_id=video.author_id,
        title=video.title,
        kind=video.kind,
        stage=card.stage,
        summary=card.summary,
        topics=card.topics,
        tags=video.tags,
        language=video.language,
        media_url=media_url(card),
        poster_url=poster_url(card),
        duration_ms=video.duration_ms,
        uploaded_at=video.uploaded_at,
        perceived_at=card.perceived_at,
    )


def feed_page(page: Page, *, policy_version: str, explain: bool) -> FeedPage:
    """Return what to tell of a page."""
    items = [
        FeedItem(
            video_id=item.card.video.video_id,
            position=item.position,
            title=item.card.video.title,
            author_id=item.card.video.author_id,
            topics=item.card.topics,
            media_url=media_url(item.card),
            poster_url=poster_url(item.card),
            duration_ms=item.card.video.duration_ms,
            kind=item.card.video.kind,
            uploaded_at=item.card.video.uploaded_at,
            score=item.score,
            propensity=item.propensity,
            source=item.source,
            reason=item.reason,
            new=item.new,
        )
        for item in page.items
    ]
    traced = [ItemTrace(video_id=i.card.video.video_id, found_by=i.found_by, parts=i.parts) for i in page.items]
    return FeedPage(
        request_id=page.query.request_id,
        user_id=page.query.user_id,
        items=items,
        as_of=page.query.viewer.as_of,
        policy_version=policy_version,
        trace=FeedTrace(page.trace, traced) if explain else None,
    )
