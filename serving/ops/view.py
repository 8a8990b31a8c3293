"""What the operator's page is told, once a second: every number with its unit in its name."""

from typing import Literal

from msgspec import Struct

from serving.experiments.view import ExperimentView
from serving.purges import Store


class FlowView(Struct, frozen=True, kw_only=True):
    """One flow. `lag_events` were in the broker at its last word and not taken yet; "silent" is one that said nothing for 5 s.

    Freshness is of the last second in which features were written, 10 s ago at most. `dead_letters` are not replayed yet;
    `counters` grow from each start of the flow on, a name and its labels each.
    """

    name: str
    state: Literal["running", "silent", "restarting"]
    lag_events: int
    events_per_s: float
    freshness_p50_ms: float | None
    freshness_p99_ms: float | None
    restarts: int
    up_s: float
    silent_s: float
    rss_bytes: int
    cpu_share: float
    dead_letters: int
    counters: dict[str, int] = {}


class ServerView(Struct, frozen=True, kw_only=True):
    """What is no flow: broker, redis, triton, api, the learned models that serve. `restarts` None where no supervisor tells."""

    name: str
    ok: bool
    detail: str
    restarts: int | None
    answered_ms: float | None
    rss_bytes: int


class TopicView(Struct, frozen=True, kw_only=True):
    """One topic: events a second over the last 5 s, and all that it was ever given."""

    name: str
    events_per_s: float
    events: int


class AgeBucket(Struct, frozen=True):
    """How many videos of the catalogue are at most this old, and older than the bucket before."""

    up_to_h: float
    videos: int


class NewVideo(Struct, frozen=True, kw_only=True):
    """A video with exploration budget left: `impressions` of `budget` were spent; `success` is its smoothed share."""

    video_id: str
    title: str
    author_id: str
    uploaded_at: int
    stage: str
    impressions: int
    budget: int
    success: float


class CatalogueView(Struct, frozen=True, kw_only=True):
    """`exposure_gini`: 0 where every author is shown as often as any, 1 where one author has it all."""

    videos: int
    live_rooms: int
    new_videos: int
    authors: int
    exposure_gini: float | None
    ages: list[AgeBucket]
    newest: list[NewVideo]


class FairnessView(Struct, frozen=True, kw_only=True):
    """Whom this node showed lately: the share that new videos had, the Gini over authors; a target is None where there is none.

    `places` of ten are kept for new videos; `author_weight` is the most that an author's exposure moves a value.
    """

    new_share: float | None
    new_share_target: float | None
    places: float
    author_gini: float | None
    author_gini_target: float | None
    author_weight: float


class StageView(Struct, frozen=True, kw_only=True):
    """One stage of the feed over the last minute: mean time and mean numbers of candidates in and out of it."""

    kind: str
    name: str
    mean_ms: float
    candidates_in: float
    candidates_out: float


class FeedView(Struct, frozen=True, kw_only=True):
    """The feed over the last 10 s; `degraded` while pages are made from memory as the feature store is away."""

    pages_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    errors_per_s: float
    slates_lost: int
    degraded: bool
    stages: list[StageView]


class OpsView(Struct, frozen=True, kw_only=True):
    """Everything at one moment (Unix ms). `supervised`: whether a supervisor tells of restarts.

    `experiments` are those that run.
    """

    at: int
    supervised: bool
    version: str
    policy_version: str
    flows: list[FlowView]
    servers: list[ServerView]
    topics: list[TopicView]
    catalogue: CatalogueView
    fairness: FairnessView
    feed: FeedView
    dead_letters_open: int
    events_accepted: int
    sse_clients: int
    experiments: list[ExperimentView] = []


class History(Struct, frozen=True):
    """Series over the last hour, one value a second; None where nothing was measured.

    Names: `events_per_s.TOPIC`, `freshness_p50_ms`, `freshness_p99_ms`, `lag_events.FLOW`, `pages_per_s`, `feed_p50_ms`,
    `feed_p99_ms`, `catalogue_videos`, `new_videos`, `exposure_gini`, `served_gini`, `served_new_share`, `restarts.PROCESS`,
    `rss_bytes.PROCESS`.
    """

    at: list[int]
    series: dict[str, list[float | None]]


class Sample(Struct, frozen=True):
    """What the stream sends every second: the view, and the newest value of each series."""

    view: OpsView
    values: dict[str, float | None]


class LetterView(Struct, frozen=True, kw_only=True):
    """A dead letter; `payload` is its beginning as text, `whole` tells whether all of it was kept, so it can be replayed."""

    letter_id: str
    origin: str
    flow: str
    reason: str
    key: str | None
    payload: str
    payload_bytes: int
    whole: bool
    failed_at: int
    replayed_at: int | None


class Letters(Struct, frozen=True):
    """Dead letters, newest first; `total` are kept by this node."""

    letters: list[LetterView]
    total: int
    open: int


class PurgeView(Struct, frozen=True, kw_only=True):
    """A takedown ("video") or an erasure ("user"), and what each store proved."""

    cause: str
    subject: Literal["user", "video"]
    subject_id: str
    at: int
    complete: bool
    stores: list[Store]
