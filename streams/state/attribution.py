"""Slates joined with what their viewer did, and closed by a window into feedback."""

from msgspec import Struct, field, structs

from streams.events import Feedback, Interaction, Outcome, Slate
from streams.settings import FlowSettings
from streams.state.recent_ids import RecentIds
from streams.state.rewards import reward

# Interactions that came before their slate did: the two are on different topics. More wait only if slates are lost.
ORPHANS_KEPT = 500


class Watched(Struct):
    """What happened to one video of a slate so far."""

    actions: dict[str, None] = field(default_factory=dict)
    watch_ms: int = 0

    def apply(self, interaction: Interaction) -> None:
        self.actions[interaction.action] = None
        # Progress counts up, so the longest report is the time watched.
        self.watch_ms = max(self.watch_ms, interaction.watch_ms or 0)


class OpenSlate(Struct):
    """A page whose feedback is still coming in."""

    slate: Slate
    last_at: int
    watched: dict[str, Watched] = field(default_factory=dict)


class Attribution(Struct):
    """The open slates of one viewer. Times are when events reached the flow: a window must close though no event comes."""

    ids: RecentIds = field(default_factory=RecentIds)
    slates: dict[str, OpenSlate] = field(default_factory=dict)
    orphans: list[tuple[int, Interaction]] = field(default_factory=list)

    def on_slate(self, slate: Slate, now: int) -> None:
        """Open a window for `slate`, and give it the interactions that came before it."""
        if slate.request_id in self.slates or not self.ids.is_new(slate.request_id):
            return
        self.slates[slate.request_id] = OpenSlate(structs.replace(slate, pool=()), now)
        early = [orphan for orphan in self.orphans if orphan[1].request_id == slate.request_id]
        self.orphans = [orphan for orphan in self.orphans if orphan[1].request_id != slate.request_id]
        for at, interaction in early:
            self._attribute(interaction, at)

    def on_interaction(self, interaction: Interaction, now: int) -> None:
        """Attribute one interaction to its slate; one without a request, or seen before, changes nothing."""
        if interaction.request_id is None or not self.ids.is_new(interaction.event_id):
            return
        if interaction.request_id in self.slates:
            self._attribute(interaction, now)
        else:
            self.orphans = [*self.orphans[1 - ORPHANS_KEPT :], (now, interaction)]

    def _attribute(self, interaction: Interaction, now: int) -> None:
        opened = self.slates[interaction.request_id or ""]
        opened.last_at = max(opened.last_at, now)
        opened.watched.setdefault(interaction.video_id, Watched()).apply(interaction)

    def close(self, now: int, settings: FlowSettings) -> list[Feedback]:
        """Close the slates whose window is over and return their feedback; forget orphans that nothing claimed."""
        due = [opened for opened in self.slates.values() if self._closes_at(opened, settings) <= now]
        for opened in due:
            del self.slates[opened.slate.request_id]
        self.orphans = [(at, event) for at, event in self.orphans if at + settings.feedback_max_s * 1000 > now]
        return [_feedback(opened, now) for opened in due]

    def next_close(self, settings: FlowSettings) -> int | None:
        """Return when the next window ends, Unix ms; None where nothing is open."""
        ends = [self._closes_at(opened, settings) for opened in self.slates.values()]
        ends += [int(at + settings.feedback_max_s * 1000) for at, _ in self.orphans[:1]]
        return min(ends, default=None)

    def is_empty(self) -> bool:
        """Return whether nothing is open."""
        return not self.slates and not self.orphans

    @staticmethod
    def _closes_at(opened: OpenSlate, settings: FlowSettings) -> int:
        live = any(item.live for item in opened.slate.items)
        silence_s = settings.feedback_live_silence_s if live else settings.feedback_silence_s
        return min(opened.last_at + int(silence_s * 1000), opened.slate.served_at + int(settings.feedback_max_s * 1000))


def _feedback(opened: OpenSlate, now: int) -> Feedback:
    slate = opened.slate
    outcomes = []
    for item in slate.items:
        watched = opened.watched.get(item.video_id, Watched())
        actions = tuple(watched.actions)
        value, parts = reward(actions, watch_ms=watched.watch_ms, duration_ms=item.duration_ms)
        outcomes.append(
            Outcome(
                video_id=item.video_id,
                position=item.position,
                propensity=item.propensity,
                source=item.source,
                actions=actions,
                watch_ms=watched.watch_ms,
                reward=value,
                parts=parts,
            )
        )
    return Feedback(
        request_id=slate.request_id,
        user_id=slate.user_id,
        items=tuple(outcomes),
        served_at=slate.served_at,
        closed_at=now,
        policy_version=slate.policy_version,
        arm=slate.arm,
    )
