"""Ranks for one viewer as the user simulation agent judges, where that was measured to help; by interests everywhere else.

Interests order the pool first and wishes keep the places they gave: the agent orders the rest of its beginning anew.
"""

import logging
import time
from collections.abc import Callable, Sequence

import numpy as np
from msgspec.structs import replace

from models.settings import AgentSettings
from models.viewers.agent import OWN, Mind, NoSuchMind, NotDecided, UserAgent
from models.viewers.interest_ranker import ALIKE, InterestRanker, Placed
from models.viewers.memory import Seen, about, seen_by, tokens_of, words_of
from models.viewers.policies import Policies, Serving
from models.viewers.prompts import judging
from streams.clock import Clock, now_ms
from streams.events import Steer
from streams.features import ViewerFeatures
from streams.ports import Count, PlanRequest, Ranking, Videos, uncounted

log = logging.getLogger(__name__)

# What was asked for this long ago waits behind slow plans. Shorter, and a burst gets few plans by the agent; longer, and a
# queue drains more slowly: this and agent.plan_within_s is the longest that an instruction waits for this flow.
LATE_MS = 3_000
# From this probability on the agent's liking is a reason to be told of.
LIKELY = 0.5
# Of a title in a reason, characters: a reason is one line.
LONGEST_TITLE = 80

Budget = Callable[[int], bool]


class AgentRanker:
    """`streams.ports.Ranker` by the user simulation agent, and by interests where it does not decide. Each plan is counted.

    An instruction is obeyed by interests at once: somebody waits for it, and what it is about is for wishes to order.
    """

    def __init__(
        self,
        interests: InterestRanker,
        agent: UserAgent,
        policies: Policies,
        videos: Videos,
        settings: AgentSettings,
        *,
        budget: Budget = lambda tokens: True,
        stopping: Callable[[], bool] = lambda: False,
        clock: Clock = now_ms,
        count: Count = uncounted,
    ) -> None:
        """`budget` says, when asked, whether questions of so many more tokens may be asked now over all viewers."""
        self._interests = interests
        self._agent = agent
        self._policies = policies
        self._videos = videos
        self._settings = settings
        self._budget = budget
        self._stopping = stopping
        self._clock = clock
        self._count = count

    def steer(self, texts: Sequence[str]) -> list[tuple[Steer, ...]]:
        """Return each instruction's wishes with their embeddings. Raises PerceptionUnavailable."""
        return self._interests.steer(texts)

    def rank(self, request: PlanRequest, viewer: ViewerFeatures) -> Ranking:
        """Return the pool, best first, with a reason in the viewer's words for each; videos that are gone are left out."""
        if self._stopping() or self._clock() - request.asked_at > LATE_MS:
            return self._left("late", request, viewer)
        if request.trigger == "instruction":
            return self._left("instruction", request, viewer)
        with self._policies.of(request.user_id) as serving:
            if not self._settings.untested:
                if serving is None:
                    return self._left("no_policy", request, viewer)
                if not serving.policy.helps(0 if viewer.history is None else len(viewer.history.video_ids)):
                    return self._left("not_helped", request, viewer)
            return self._judged(request, viewer, serving)

    def _left(self, why: str, request: PlanRequest, viewer: ViewerFeatures) -> Ranking:
        self._count(f"agent_plan/{why}")
        return self._interests.rank(request, viewer)

    def _judged(self, request: PlanRequest, viewer: ViewerFeatures, serving: Serving | None) -> Ranking:
        now = self._clock()
        words = words_of(viewer, self._videos.get, now_ms=now, tokens=self._settings.memory_tokens)
        placed = self._interests.placed(request, viewer)
        free = [at for at, each in enumerate(placed) if not each.wished][: self._settings.judged]
        videos = [about(placed[at].video) for at in free]
        if not free:
            return self._left("nothing_to_judge", request, viewer)
        if not self._budget(_tokens(words, videos) + len(videos) * self._settings.max_tokens * bool(self._settings.thought)):
            return self._left("over_budget", request, viewer)
        began = time.monotonic()
        try:
            judged = self._rank(words, videos, serving)
        except NotDecided as error:
            log.warning("viewer %s: interests rank: %s", request.user_id, error)
            return self._left("not_decided", request, viewer)
        finally:
            self._count("agent_plan_ms", round((time.monotonic() - began) * 1000))
        self._count("agent_plan/made")
        items = [each.item for each in placed]
        liked = [each for each in seen_by(viewer.history, self._videos.get, now_ms=now) if each.liked]
        # A score is its place's: what it was by interests says nothing in another place.
        for place, (row, probably) in zip(free, judged, strict=True):
            chosen = placed[free[row]]
            items[place] = replace(chosen.item, score=placed[place].item.score, reason=_reason(chosen, probably, liked))
        version = self._settings.model if serving is None else serving.version
        return Ranking(tuple(items), f"agent:{version}"[:128])

    def _rank(self, words: str, videos: Sequence[str], serving: Serving | None) -> list[tuple[int, float]]:
        """Return the rows of the videos, best first, all within the time of one plan. Raises NotDecided."""
        deadline = time.monotonic() + self._settings.plan_within_s
        mind: Mind = OWN if serving is None else serving.mind
        try:
            return self._agent.rank(words, videos, mind=mind, within_s=self._settings.plan_within_s)
        except NoSuchMind:
            if serving is None or not self._policies.restore(serving, within_s=deadline - time.monotonic()):
                raise
        return self._agent.rank(words, videos, mind=mind, within_s=deadline - time.monotonic())


def _tokens(viewer: str, videos: Sequence[str]) -> int:
    """Return about how many tokens the questions have: each whole, though a server may remember how all begin."""
    frame = sum(tokens_of(message["content"]) for message in judging(viewer, ""))
    return len(videos) * frame + sum(map(tokens_of, videos))


def _reason(placed: Placed, probably: float, liked: Sequence[Seen]) -> str:
    """Return why the agent put a video where it is: the video that the viewer liked and that is most like it, if one is."""
    if probably < LIKELY or not liked:
        return placed.item.reason
    alike = np.stack([each.video.embedding for each in liked]) @ placed.video.embedding
    nearest = int(np.argmax(alike))
    if alike[nearest] < ALIKE:
        return placed.item.reason
    title = " ".join(liked[nearest].video.title.split())[:LONGEST_TITLE]
    return f"Because you {liked[nearest].done} “{title}”" if title else placed.item.reason
