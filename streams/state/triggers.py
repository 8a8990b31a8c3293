"""When a viewer deserves a new plan, and when not yet."""

from msgspec import Struct, field

from streams.events import Instruction, Interaction, Slate, Steer
from streams.features import Vector
from streams.ports import PlanRequest, Video
from streams.settings import FlowSettings
from streams.state.decay import Decay
from streams.state.engagement import INTEREST
from streams.state.interests import SHORT_HALF_LIFE_MS, DecayedVector
from streams.state.recent_ids import RecentIds

# A viewer with fewer videos than this is new: an LLM beats a factorisation machine only where history is short.
THIN_HISTORY = 20
THIN_EVERY = 3
SKIP_STREAK = 3
# Cosine of a liked video with current interests below which the like opens something new.
NEW_TASTE = 0.25


class Triggers(Struct):
    """What the rerank flow keeps of one viewer: the last pool, the wishes in force, and what happened since the last plan."""

    ids: RecentIds = field(default_factory=RecentIds)
    pool: tuple[str, ...] = ()
    steering: tuple[Steer, ...] = ()
    steering_until: int = 0
    interests: DecayedVector = field(default_factory=lambda: DecayedVector(Decay(SHORT_HALF_LIFE_MS)))
    watched: int = 0
    since_plan: int = 0
    skip_streak: int = 0
    due: str = ""
    planned_at: int = 0

    def not_after(self, now: int) -> None:
        """Take what a clock that was set back since put after `now`, Unix ms, as just happened."""
        self.planned_at = min(self.planned_at, now)
        self.interests.decay.set_back(max(0, self.interests.decay.landmark_ms - now))

    def on_slate(self, slate: Slate) -> None:
        """Remember the candidates of the newest page: what the next plan ranks."""
        self.pool = slate.pool

    def on_instruction(self, instruction: Instruction, steering: tuple[Steer, ...], *, ttl_ms: int) -> None:
        """A wish is a trigger at once, and steers every plan until it expires or the next wish comes."""
        if self.ids.is_new(instruction.event_id):
            self.steering = steering
            self.steering_until = instruction.occurred_at + ttl_ms
            self.due = "instruction"

    def on_interaction(self, interaction: Interaction, video: Video | None) -> None:
        """Note one interaction, and whether it makes a plan due."""
        if not self.ids.is_new(interaction.event_id):
            return
        weight = INTEREST[interaction.action]
        if interaction.action in ("skip", "not_interested"):
            self.skip_streak += 1
        elif weight >= INTEREST["complete"]:
            self.skip_streak = 0
        if weight:
            self.watched += 1
            self.since_plan += 1
        self.due = self.due or self._reason(interaction, video)
        if weight and video is not None:
            self.interests.add(video.embedding, weight, interaction.occurred_at)

    def _reason(self, interaction: Interaction, video: Video | None) -> str:
        if self.skip_streak >= SKIP_STREAK:
            return "skip streak"
        strong = interaction.action in ("like", "share", "gift", "follow")
        if strong and video is not None and self._is_new_taste(video.embedding):
            return "new taste"
        if self.watched <= THIN_HISTORY and self.since_plan >= THIN_EVERY:
            return "thin history"
        return ""

    def _is_new_taste(self, embedding: Vector) -> bool:
        return self.interests.mass > 0.0 and float(self.interests.unit() @ embedding) < NEW_TASTE

    def has_something(self, now: int) -> bool:
        """Return whether there is anything to rank: a pool, or a wish in force."""
        return bool(self.pool) or now < self.steering_until

    def allowed_at(self, settings: FlowSettings) -> int:
        """Return from when on, Unix ms, this viewer may have the plan that is due; an instruction never waits."""
        if self.due == "instruction":
            return 0
        return self.planned_at + int(settings.plan_min_interval_s * 1000)

    def request(self, user_id: str, now: int) -> PlanRequest | None:
        """Return what to plan, with the wishes in force at `now`; None where there is nothing to rank yet."""
        if not self.has_something(now):
            return None
        steering, until = (self.steering, self.steering_until) if now < self.steering_until else ((), 0)
        request = PlanRequest(
            user_id=user_id, trigger=self.due, pool=self.pool, asked_at=now, steering=steering, steering_until=until
        )
        self.due, self.planned_at = "", now
        self.since_plan = self.skip_streak = 0
        return request
