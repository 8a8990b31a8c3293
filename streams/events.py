"""The vocabulary: every event Headwater speaks, its fields, units and bounds.

Frozen, tagged msgspec structs, JSON on the wire. Unknown fields are ignored and missing optional ones defaulted, so old and
new producers live together. Times are Unix milliseconds UTC in `*_at` fields, lengths are in `*_ms`, embeddings are
little-endian float16 bytes (base64 in JSON) of unit length.
"""

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=500)]
Uri = Annotated[str, Meta(min_length=1, max_length=2048)]
Tag = Annotated[str, Meta(min_length=1, max_length=64)]
Language = Annotated[str, Meta(min_length=2, max_length=35, description="BCP 47; 'und' where it is not known")]
UnixMs = Annotated[int, Meta(ge=0, le=253_402_300_799_999, description="Unix milliseconds, UTC")]
Position = Annotated[int, Meta(ge=0, le=10_000)]
# A clip longer than an hour is no short video, and one such decode would hold an encoder for minutes.
DurationMs = Annotated[int, Meta(ge=0, le=3_600_000)]
WatchMs = Annotated[int, Meta(ge=0, le=86_400_000)]
Embedding = Annotated[bytes, Meta(max_length=8192, description="little-endian float16, unit length")]
# A larger bound, and the feedback of a page of 500 places may be larger than an event may be.
PackedFeatures = Annotated[bytes, Meta(max_length=128, description="little-endian float16, as scored; empty: not known")]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Name = Annotated[str, Meta(max_length=128)]
# It may quote a title or a wish.
Reason = Annotated[str, Meta(max_length=1000)]
Score = Annotated[float, Meta(ge=-1e6, le=1e6)]
Rivals = Annotated[dict[Id, Share], Meta(max_length=64, description="propensities by video")]
Decayed = Annotated[float, Meta(ge=0.0, le=1e12, description="a decayed count")]
Count = Annotated[int, Meta(ge=0, le=2_147_483_647)]
Length = Annotated[int, Meta(ge=0, le=2**53, description="milliseconds or bytes")]

Action = Literal[
    "impression", "play", "progress", "complete", "like", "unlike", "comment", "share", "follow", "gift",
    "skip", "not_interested", "report", "leave",
]  # fmt: skip
ACTIONS: tuple[str, ...] = get_args(Action)


class Event(Struct, frozen=True, kw_only=True, tag_field="type", tag=lambda name: name):
    """What every event shares: a struct whose JSON names its type."""


# ── from producers ────────────────────────────────────────────────────────────────────────────────────────────────────


class Upload(Event, frozen=True, kw_only=True):
    """A video or live room that exists from now on. Topic `uploads`, key: video."""

    event_id: Id
    video_id: Id
    author_id: Id
    title: Text
    uploaded_at: UnixMs
    media_uri: Uri | None = None
    tags: Annotated[tuple[Tag, ...], Meta(max_length=32)] = ()
    language: Language = "und"
    duration_ms: DurationMs | None = None
    kind: Literal["video", "live"] = "video"


class LiveEnded(Event, frozen=True, kw_only=True):
    """A live room is over: it leaves every feed. Same key as its upload, so order holds."""

    event_id: Id
    video_id: Id
    at: UnixMs
    reason: Text = ""


class Takedown(Event, frozen=True, kw_only=True):
    """A video must go, from every feed, cache and index, within a second."""

    event_id: Id
    video_id: Id
    at: UnixMs
    reason: Text = ""


class Interaction(Event, frozen=True, kw_only=True):
    """What a viewer did with a video. Topic `interactions`, key: user."""

    event_id: Id
    user_id: Id
    video_id: Id
    action: Action
    occurred_at: UnixMs
    request_id: Id | None = None
    session_id: Id | None = None
    position: Position | None = None
    watch_ms: WatchMs | None = None


class Instruction(Event, frozen=True, kw_only=True):
    """What a viewer asks of the feed in words: "less politics, more cooking"."""

    event_id: Id
    user_id: Id
    text: Annotated[str, Meta(min_length=1, max_length=500)]
    occurred_at: UnixMs


class Erasure(Event, frozen=True, kw_only=True):
    """Forget this viewer, everywhere."""

    event_id: Id
    user_id: Id
    occurred_at: UnixMs


# ── made by the flows and the API ─────────────────────────────────────────────────────────────────────────────────────


class TopicScore(Struct, frozen=True):
    name: Name
    confidence: Share


StepName = Literal["glance", "key_frames", "perceive", "read", "listen", "rewrite"]


class PerceptionStep(Struct, frozen=True):
    """One step of understanding frames, done."""

    name: StepName
    took_ms: Length


class Perception(Event, frozen=True, kw_only=True):
    """What a video is about. Topic `perceptions`, key: video, compacted; a tombstone takes the video out.

    It carries the upload it understood, so that a catalogue is rebuilt from this one topic. `steps` are those that were done,
    the last of them how deep it went; `shows` is what is to be seen: things, then kinds of scenes, surer ones first.
    `on_screen` are lines of text in it; `sound` has the shares of speech, music and noise, and what is missing to 1 is silence.
    """

    video: Upload
    stage: Literal["title", "frames"]
    summary: Annotated[str, Meta(max_length=2000)]
    topics: Annotated[tuple[TopicScore, ...], Meta(max_length=64)]
    embedding: Embedding
    model_version: Name
    perceived_at: UnixMs
    took_ms: Length = 0
    audience: Text = ""
    mood: Text = ""
    language: Language = "und"
    safety: Annotated[dict[Name, Share], Meta(max_length=64)] = {}
    steps: Annotated[tuple[PerceptionStep, ...], Meta(max_length=8)] = ()
    shows: Annotated[tuple[TopicScore, ...], Meta(max_length=64)] = ()
    on_screen: Annotated[tuple[Text, ...], Meta(max_length=64)] = ()
    sound: Annotated[dict[Name, Share], Meta(max_length=16)] = {}
    hook: Text = ""
    motion: Share = 0.0
    brightness: Share = 0.0
    fingerprints: Annotated[bytes, Meta(max_length=512, description="of its frames, eight bytes each")] = b""
    duplicate_of: Annotated[tuple[Id, ...], Meta(max_length=8, description="earlier videos it repeats")] = ()

    @property
    def video_id(self) -> str:
        """The key."""
        return self.video.video_id


class VideoStats(Event, frozen=True, kw_only=True):
    """A video's engagement, each count decayed to `as_of` except `total_impressions`. Topic `video-stats`, compacted."""

    video_id: Id
    as_of: UnixMs
    impressions: Decayed = 0.0
    plays: Decayed = 0.0
    completions: Decayed = 0.0
    watch_share: Share = 0.0
    likes: Decayed = 0.0
    shares: Decayed = 0.0
    comments: Decayed = 0.0
    skips: Decayed = 0.0
    reports: Decayed = 0.0
    total_impressions: Count = 0


class SlateItem(Struct, frozen=True, kw_only=True):
    """One place of a page. `propensity` is the probability with which the policy put this video here.

    `rivals` are the videos that it could have put here instead, each with the probability of that: with them another policy
    can be judged by what came of this one.
    """

    video_id: Id
    position: Position
    score: Score
    propensity: Share
    source: Annotated[str, Meta(max_length=64)]
    reason: Reason
    live: bool = False
    duration_ms: DurationMs | None = None
    features: PackedFeatures = b""
    rivals: Rivals = {}


class Slate(Event, frozen=True, kw_only=True):
    """A page as it was served, with what an honest offline evaluation needs. Topic `slates`, key: user."""

    request_id: Id
    user_id: Id
    # What comes of a slate, its feedback and a plan, must be no larger than an event may be.
    items: Annotated[tuple[SlateItem, ...], Meta(max_length=500)]
    served_at: UnixMs
    pool: Annotated[tuple[Id, ...], Meta(max_length=1000)] = ()
    policy_version: Name = "interest-1"
    arm: Name = "control"
    features_as_of: UnixMs = 0
    # Which numbers `features` of its items are; 0: there are none.
    features_version: Count = 0


class Steer(Struct, frozen=True, kw_only=True):
    """One wish of an instruction: `weight` +1 for more of it, -1 for less."""

    text: Text
    weight: Annotated[float, Meta(ge=-1.0, le=1.0)]
    embedding: Embedding


class PlanItem(Struct, frozen=True, kw_only=True):
    video_id: Id
    score: Score
    reason: Reason = ""


class Plan(Event, frozen=True, kw_only=True):
    """A ranking made for one viewer off the request path. Topic `plans`, key: user. After `expires_at` it means nothing."""

    user_id: Id
    trigger: Name
    created_at: UnixMs
    expires_at: UnixMs
    ranking: Annotated[tuple[PlanItem, ...], Meta(max_length=1000)] = ()
    steering: Annotated[tuple[Steer, ...], Meta(max_length=64)] = ()
    policy_version: Name = "interest-1"


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one place of a page, its reward, and the parts that add up to it."""

    video_id: Id
    position: Position
    propensity: Share
    source: Annotated[str, Meta(max_length=64)]
    actions: Annotated[tuple[Name, ...], Meta(max_length=64)]
    watch_ms: WatchMs
    reward: Score
    parts: Annotated[dict[Name, Score], Meta(max_length=64)]
    features: PackedFeatures = b""
    rivals: Rivals = {}


class Feedback(Event, frozen=True, kw_only=True):
    """A slate joined with what its viewer did. Topic `feedback`, key: user; one for each `request_id`."""

    request_id: Id
    user_id: Id
    items: Annotated[tuple[Outcome, ...], Meta(max_length=500)]
    served_at: UnixMs
    closed_at: UnixMs
    policy_version: Name = ""
    arm: Name = ""
    features_version: Count = 0


class Release(Event, frozen=True, kw_only=True):
    """A policy or model version that may serve. Topic `releases`, key: name, compacted."""

    name: Id
    version: Name
    uri: Uri
    sha256: Name
    released_at: UnixMs
    gate: Annotated[dict[Name, float], Meta(max_length=256)] = {}


class DeadLetter(Event, frozen=True, kw_only=True):
    """An input that could not be used: where it came from, why, and its bytes, so it can be replayed after a fix.

    Topic `dead-letters`, key: the letter's id, compacted; written again with `replayed_at` once it was sent again.
    """

    origin: Name
    partition: Count
    offset: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    reason: Annotated[str, Meta(max_length=2000)]
    payload: Annotated[bytes, Meta(max_length=600_000)]
    failed_at: UnixMs
    flow: Name = ""
    key: Annotated[bytes, Meta(max_length=1000)] | None = None
    replayed_at: UnixMs | None = None

    @property
    def letter_id(self) -> str:
        """The key: the input's place in Kafka, so that two letters for one input are one."""
        return f"{self.origin}/{self.partition}/{self.offset}"


class Purged(Event, frozen=True, kw_only=True):
    """Proof that one store let go of a viewer or a video. Topic `purges`, key: the id of what was purged."""

    cause: Id
    subject: Literal["user", "video"]
    subject_id: Id
    store: Name
    count: Count
    purged_at: UnixMs


class Supervised(Struct, frozen=True, kw_only=True):
    """One process that a supervisor keeps alive. `restarts` counts since the supervisor's start."""

    name: Name
    pid: Count | None = None
    running: bool = True
    restarts: Count = 0
    last_status: Annotated[int, Meta(ge=-255, le=255)] | None = None
    started_at: UnixMs = 0
    rss_bytes: Length = 0


class ModelState(Struct, frozen=True):
    """What of a model serves, since when (Unix ms), and why a newer one does not; empty where there is none."""

    name: Name
    version: Name = ""
    loaded_at: UnixMs = 0
    refused: Annotated[str, Meta(max_length=1000)] = ""


class Heartbeat(Event, frozen=True, kw_only=True):
    """What a process says of itself every second. Topic `heartbeats`, key: process.

    `events` were taken from each topic since the last heartbeat, `positions` are the next offsets by topic and partition:
    a flow's lag is what the broker holds beyond them. `freshness_ms` is how long after the broker's acceptance the features
    of the events since the last heartbeat were readable: p50 and p99, None where there were none. `counters` only grow.
    `models` are the learned ones that serve in it.
    """

    process: Id
    instance: Id
    started_at: UnixMs
    at: UnixMs
    events: Annotated[dict[Name, Length], Meta(max_length=256)] = {}
    positions: Annotated[dict[Name, Annotated[dict[Name, Length], Meta(max_length=10_000)]], Meta(max_length=256)] = {}
    freshness_ms: tuple[Decayed, Decayed] | None = None
    counters: Annotated[dict[Name, Length], Meta(max_length=256)] = {}
    rss_bytes: Length = 0
    cpu_share: Annotated[float, Meta(ge=0.0, le=1e4)] = 0.0
    children: Annotated[tuple[Supervised, ...], Meta(max_length=256)] = ()
    models: Annotated[tuple[ModelState, ...], Meta(max_length=64)] = ()


class Span(Event, frozen=True, kw_only=True):
    """One step of a sampled trace, as OpenTelemetry knows it. Topic `spans`, key: trace.

    `started_at` is Unix ms with its fraction; `parent_id` is empty for a root.
    """

    trace_id: Id
    span_id: Id
    name: Name
    process: Name
    started_at: Annotated[float, Meta(ge=0.0, le=253_402_300_799_999.0)]
    took_ms: Annotated[float, Meta(ge=0.0, le=1e12)]
    parent_id: Name = ""
    user_id: Name = ""
    attributes: Annotated[dict[Name, Text], Meta(max_length=64)] = {}


UploadEvent = Upload | LiveEnded | Takedown
InteractionEvent = Interaction | Instruction | Erasure


def time_of(event: UploadEvent | InteractionEvent) -> int:
    """Return when a producer says the event happened, Unix ms."""
    match event:
        case Upload(uploaded_at=at) | LiveEnded(at=at) | Takedown(at=at):
            return at
        case Interaction(occurred_at=at) | Instruction(occurred_at=at) | Erasure(occurred_at=at):
            return at
