"""What came of the experiments' pages, as each API node hears of it from the topics `feedback` and `purges`."""

import threading
from collections.abc import Sequence

from serving.experiments.analysis import analysed
from serving.experiments.assignment import labelled
from serving.experiments.settings import ExperimentSettings, since_ms
from serving.experiments.tally import Tally
from serving.experiments.view import ExperimentView
from serving.recent import Recent
from streams.events import Feedback, Purged
from streams.follower import Followed

# Feedback that a flow sends again after a crash follows the first within seconds. Fewer, and it counts twice.
_PAGES_KEPT = 100_000
# Erased viewers whose feedback from before, still in the topic, must not count after a restart: more than 30 days of them.
_ERASED_KEPT = 100_000


class ExperimentOutcomes:
    """Tallies of the experiments that run. Safe to use from several threads."""

    def __init__(self, settings: ExperimentSettings) -> None:
        self.since_ms = since_ms(settings.running)
        self._alpha = settings.alpha
        self._tallies = {each.name: Tally(each, settings.viewers_in_memory) for each in settings.running}
        self._pages: Recent[bool] = Recent(_PAGES_KEPT)
        self._erased: Recent[int] = Recent(_ERASED_KEPT)
        # The next offset of each partition, and when the last event before it was appended.
        self._read: dict[tuple[str, int], tuple[int, int]] = {}
        self._changing = threading.Lock()

    def follow(self, batch: Sequence[Followed]) -> None:
        """Take over feedback and proofs of erasure, as a Follower hands them over."""
        with self._changing:
            for followed in batch:
                if not self._is_new(followed):
                    continue
                match followed.event:
                    case Feedback() as feedback:
                        self._take(feedback)
                    case Purged(subject="user", subject_id=user_id, purged_at=at):
                        self._forget(user_id, at)

    def forget(self, user_id: str, *, at: int) -> int:
        """Forget a viewer, and all that was served to them before `at`, Unix ms; return in how many experiments they were."""
        with self._changing:
            return self._forget(user_id, at)

    def views(self) -> list[ExperimentView]:
        """Return what may be said of each experiment."""
        with self._changing:
            return [analysed(tally, self._alpha) for tally in self._tallies.values()]

    def _is_new(self, followed: Followed) -> bool:
        """Tell whether an event was not read before: a follower that lost the broker begins again at the first."""
        place = followed.topic.name, followed.partition
        following, last_at = self._read.get(place, (0, 0))
        # A lower offset that was appended later is of a topic that was made anew.
        if followed.offset < following and followed.appended_at <= last_at:
            return False
        self._read[place] = followed.offset + 1, followed.appended_at
        return True

    def _take(self, feedback: Feedback) -> None:
        if feedback.served_at <= (self._erased.get(feedback.user_id) or 0):
            return
        arms = labelled(feedback.arm)
        if not arms or self._pages.get(feedback.request_id):
            return
        self._pages.put(feedback.request_id, True)
        for experiment, arm in arms.items():
            tally = self._tallies.get(experiment)
            if tally is not None and feedback.served_at >= (since_ms([tally.experiment]) or 0):
                tally.take(feedback.user_id, arm, feedback.items)

    def _forget(self, user_id: str, at: int) -> int:
        self._erased.put(user_id, max(at, self._erased.get(user_id) or 0))
        return sum(tally.forget(user_id) for tally in self._tallies.values())
