"""Slates joined with what their viewer did, and closed by a window into feedback."""

from msgspec import Struct, field, structs

from streams.events import Feedback, Interaction, Outcome, Slate
from streams.settings import FlowSettings
from streams.state.recent_ids import RecentIds
from streams.state.rewards import reward

# Interactions that came before their slate did: the two are on different topics. More wait only if slates are lost.
ORPHANS_KEPT = 500
# Open pages of one viewer: more than anyone scrolls through in the ten minutes a page may stay open. Past it the oldest closes
# early, or one client that asks for pages all day would fill the flow's memory and each of its snapshots.
SLATES_KEPT = 200


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
    """The open slates of one viewer. Times are when the broker had the events, so that a replay makes the same of them."""

    ids: RecentIds = field(default_factory=RecentIds)
    slates: dict[str, OpenSlate] = field(default_factory=dict)
    orphans: list[tuple[int, Interaction]] = field(default_factory=list)
    # When the viewer was forgotten, by the API's clock, and until when, by the broker's, that is remembered.
    erased_at: int = 0
    erased_until: int = 0

    @classmethod
    def forgotten(cls, erased_at: int, received_at: int, settings: FlowSettings) -> "Attribution":
        """Return what is kept of a viewer who was forgotten: that a page from before, still on its way, opens no window."""
        return cls(erased_at=erased_at, erased_until=received_at + int(settings.feedback_max_s * 1000))

    def not_after(self, now: int) -> None:
        """Take what a clock that was set back since put after `now`, Unix ms, as just happened."""
        for opened in self.slates.values():
            opened.last_at = min(opened.last_at, now)
        self.orphans = [(min(at, now), event) for at, event in self.orphans]

    def on_slate(self, slate: Slate, at: int, settings: FlowSettings) -> None:
        """Open a window for `slate`, and give it the interactions that came before it."""
        if slate.served_at <= self.erased_at or slate.request_id in self.slates or not self.ids.is_new(slate.request_id):
            return
        self.slates[slate.request_id] = OpenSlate(structs.replace(slate, pool=()), at)
        early = [orphan for orphan in self.orphans if orphan[1].request_id == slate.request_id]
        self.orphans = [orphan for orphan in self.orphans if orphan[1].request_id != slate.request_id]
        for early_at, interaction in early:
            self._attribute(interaction, early_at, settings)

    def on_interaction(self, interaction: Interaction, at: int, settings: FlowSettings) -> None:
        """Attribute one interaction to its slate; one without a request, seen before, or too late, changes nothing."""
        if interaction.request_id is None or not self.ids.is_new(interaction.event_id):
            return
        if interaction.request_id in self.slates:
            self._attribute(interaction, at, settings)
        else:
            self.orphans = [*self.orphans[1 - ORPHANS_KEPT :], (at, interaction)]

    def _attribute(self, interaction: Interaction, at: int, settings: FlowSettings) -> None:
        opened = self.slates[interaction.request_id or ""]
        if at >= self._closes_at(opened, settings):
            # The window is over, though it is not closed yet: what a page became must not depend on how late the flow is.
            return
        opened.last_at = max(opened.last_at, at)
        if all(item.video_id != interaction.video_id for item in opened.slate.items):
            # What was not on the page has no part in its feedback, and a client could name such videos without end.
            return
        opened.watched.setdefault(interaction.video_id, Watched()).apply(interaction)

    def close(self, now: int, settings: FlowSettings) -> list[Feedback]:
        """Close the slates whose window is over and return their feedback; forget orphans that nothing claimed."""
        crowded = set(list(self.slates)[: max(0, len(self.slates) - SLATES_KEPT)])
        due = [
            opened
            for request_id, opened in self.slates.items()
            if request_id in crowded or self._closes_at(opened, settings) <= now
        ]
        for opened in due:
            del self.slates[opened.slate.request_id]
        self.orphans = [(at, event) for at, event in self.orphans if at + settings.feedback_max_s * 1000 > now]
        if now >= self.erased_until:
            self.erased_at = self.erased_until = 0
        return [_feedback(opened, min(now, self._closes_at(opened, settings))) for opened in due]

    def next_close(self, settings: FlowSettings) -> int | None:
        """Return when the next window ends, Unix ms; None where nothing is open."""
        ends = [self._closes_at(opened, settings) for opened in self.slates.values()]
        ends += [int(at + settings.feedback_max_s * 1000) for at, _ in self.orphans[:1]]
        ends += [self.erased_until] if self.erased_until else []
        return min(ends, default=None)

    def is_empty(self) -> bool:
        """Return whether there is nothing to keep, not even that the viewer was forgotten."""
        return not self.slates and not self.orphans and not self.erased_until

    @staticmethod
    def _closes_at(opened: OpenSlate, settings: FlowSettings) -> int:
        live = any(item.live for item in opened.slate.items)
        silence_s = settings.feedback_live_silence_s if live else settings.feedback_silence_s
        return min(opened.last_at + int(silence_s * 1000), opened.slate.served_at + int(settings.feedback_max_s * 1000))


def _feedback(opened: OpenSlate, closed_at: int) -> Feedback:
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
                features=item.features,
                rivals=item.rivals,
            )
        )
    return Feedback(
        request_id=slate.request_id,
        user_id=slate.user_id,
        items=tuple(outcomes),
        served_at=slate.served_at,
        closed_at=closed_at,
        policy_version=slate.policy_version,
        arm=slate.arm,
        features_version=slate.features_version,
    )
