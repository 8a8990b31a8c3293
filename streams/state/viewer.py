"""All that the profile flow keeps of one viewer, and the feature rows it makes of it."""

from collections.abc import Iterable

from msgspec import Struct, field, structs

from streams.events import Interaction
from streams.features import FeatureRow, UserActivity, UserHistory, UserInterests
from streams.ports import Video, Videos
from streams.state.decay import AHEAD_MS
from streams.state.engagement import INTEREST, Engaged
from streams.state.history import History
from streams.state.influence import Influence
from streams.state.interests import Interests
from streams.state.recent_ids import RecentIds
from streams.state.session import Session

# Interactions with videos whose perception has not arrived yet. More than this at once means the perceive flow is down;
# the oldest then lose their part in the interests, never in the counts.
AWAITING_KEPT = 64


class Awaited(Struct, gc=False):
    """An interest that waits for its video's embedding."""

    video_id: str
    weight: float
    at: int


class Viewer(Struct):
    """One viewer: what was seen, done and liked. Deterministic: the same events make the same viewer."""

    ids: RecentIds = field(default_factory=RecentIds)
    counts: dict[str, int] = field(default_factory=dict)
    history: History = field(default_factory=History)
    session: Session = field(default_factory=Session)
    interests: Interests = field(default_factory=Interests)
    awaited: list[Awaited] = field(default_factory=list)
    influence: Influence = field(default_factory=Influence)
    newest_at: int = 0

    def apply(self, interactions: Iterable[Interaction], videos: Videos, received_at: int) -> tuple[int, list[Engaged]]:
        """Take in interactions that the broker had at `received_at` (Unix ms).

        Returns how many were new, and those of them that count for their videos: duplicates change nothing, and a video hears
        the same of one viewer once a day.
        """
        if self.newest_at > received_at + AHEAD_MS:
            self._set_back(received_at)
        if self.awaited:
            self._resolve(videos)
        new, engaged = 0, []
        for interaction in interactions:
            if self.ids.is_new(interaction.event_id):
                new += 1
                video = videos.get(interaction.video_id)
                self._count(interaction, video)
                at = self.influence.admit(interaction.video_id, interaction.action, interaction.occurred_at, received_at)
                if at is not None:
                    watched = _watch_share(interaction, video)
                    engaged.append(Engaged(interaction.video_id, interaction.action, at, watched, received_at))
        return new, engaged

    def _set_back(self, to: int) -> None:
        """Take what came while a clock ran ahead as just happened: all that comes now would else be too old to count."""
        by_ms, self.newest_at = self.newest_at - to, to
        self.interests.set_back(by_ms)
        self.session.set_back(by_ms)
        self.history.set_back(to)
        self.influence.set_back(to)
        self.awaited = [structs.replace(awaited, at=min(awaited.at, to)) for awaited in self.awaited]

    def _count(self, interaction: Interaction, video: Video | None) -> None:
        action, at = interaction.action, interaction.occurred_at
        self.counts[action] = self.counts.get(action, 0) + 1
        self.newest_at = max(self.newest_at, at)
        self.session.apply(interaction)
        self.history.apply(interaction, None if video is None else video.author_id)
        weight = INTEREST[action]
        if weight and video is not None:
            self.interests.add(video.embedding, video.topics, weight, at)
        elif weight:
            self.awaited = [*self.awaited[1 - AWAITING_KEPT :], Awaited(interaction.video_id, weight, at)]

    def _resolve(self, videos: Videos) -> None:
        still = []
        for awaited in self.awaited:
            video = videos.get(awaited.video_id)
            if video is None:
                still.append(awaited)
            else:
                self.interests.add(video.embedding, video.topics, awaited.weight, awaited.at)
        self.awaited = still

    def rows(self, user_id: str) -> list[FeatureRow]:
        """Return the viewer's features as of the newest event."""
        count, session, interests, history = self.counts.get, self.session, self.interests, self.history
        as_of = self.newest_at
        return [
            UserActivity(
                user_id=user_id,
                as_of=as_of,
                events=sum(self.counts.values()),
                impressions=count("impression", 0),
                plays=count("play", 0),
                completes=count("complete", 0),
                likes=count("like", 0),
                skips=count("skip", 0),
                skip_streak=session.skip_streak,
                session_id=session.session_id,
                session_events=session.events,
                session_watch_ms=session.watch_ms,
            ),
            UserInterests(
                user_id=user_id,
                as_of=as_of,
                short=interests.short.unit(),
                long=interests.long.unit(),
                short_weight=interests.short.decay.value(interests.short.mass, as_of),
                long_weight=interests.long.decay.value(interests.long.mass, as_of),
                topics=interests.top_topics(),
            ),
            UserHistory(
                user_id=user_id,
                as_of=as_of,
                video_ids=list(history.videos),
                weights=[seen.weight for seen in history.videos.values()],
                seen_at=[seen.at for seen in history.videos.values()],
                followed=list(history.followed),
                blocked=list(history.blocked),
            ),
        ]


def _watch_share(interaction: Interaction, video: Video | None) -> float | None:
    if interaction.action == "complete":
        return 1.0
    if interaction.watch_ms is None or video is None or not video.duration_ms:
        return None
    # Progress reports count up; only the last word on a view may enter the mean.
    if interaction.action not in ("skip", "leave", "not_interested"):
        return None
    return min(1.0, interaction.watch_ms / video.duration_ms)
