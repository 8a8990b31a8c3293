"""The feed of this node: its memory, and the pipeline's stages composed over it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.ranking.ranker import Ranker
from serving.catalogue import Catalogue
from serving.experiments.settings import ExperimentSettings
from serving.experiments.variants import Variants
from serving.feed.effects.exposure import CountExposure
from serving.feed.effects.served import RememberServed
from serving.feed.effects.slate_event import SlateEvent
from serving.feed.fairness.steering import Fairness
from serving.feed.filters.blocked import Blocked
from serving.feed.filters.seen import Seen
from serving.feed.filters.servable import Servable
from serving.feed.filters.too_old import TooOld
from serving.feed.filters.unsafe import Unsafe
from serving.feed.hydrators.plan import PlanHydrator
from serving.feed.hydrators.seen import SeenHydrator
from serving.feed.hydrators.taste import TasteHydrator
from serving.feed.hydrators.viewer import ViewerHydrator
from serving.feed.hydrators.wanted import WantedHydrator
from serving.feed.pipeline import FeedPipeline, Stages
from serving.feed.ranking import RankingFeatures
from serving.feed.scorers.again import Again
from serving.feed.scorers.author_exposure import AuthorExposure
from serving.feed.scorers.engagement import Engagement
from serving.feed.scorers.followed import FollowedAuthor
from serving.feed.scorers.freshness import Freshness
from serving.feed.scorers.interest import Interest
from serving.feed.scorers.live import LiveRoom
from serving.feed.scorers.plan_rank import PlanRank
from serving.feed.scorers.ranked import Ranked
from serving.feed.scorers.steering import Steering
from serving.feed.scorers.wanted import WantedScore
from serving.feed.selector import PageSelector
from serving.feed.sources.asked import AskedFor
from serving.feed.sources.exploration import Exploration
from serving.feed.sources.followed import Followed
from serving.feed.sources.fresh import Fresh
from serving.feed.sources.live import LiveNow
from serving.feed.sources.planned import Planned
from serving.feed.sources.popular import Popular
from serving.feed.sources.similar_to_interests import SimilarToInterests
from serving.feed.sources.similar_to_recent import SimilarToRecent
from serving.feed.sources.wanted_next import WantedNext
from serving.settings import FeedSettings
from serving.shelves import Shelves
from serving.spaces import Space, load_space
from serving.versions import Versions
from serving.viewers import LastPages, Plans, Viewers
from streams.events import Slate
from streams.ports import ViewerSource

_HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Feed:
    """What one API node remembers, and the pipeline over it."""

    catalogue: Catalogue
    towers: Versions[Space]
    shelves: Shelves
    viewers: Viewers
    plans: Plans
    last_pages: LastPages
    fairness: Fairness
    pipeline: FeedPipeline
    closing: threading.Event
    variants: Variants | None = None

    def pipeline_of(self, user_id: str) -> FeedPipeline:
        """Return what makes a viewer's pages: where experiments run, that of the viewer's arms."""
        return self.pipeline if self.variants is None else self.variants.of(user_id)

    def sweep(self, *, now_ms: int, rng: np.random.Generator) -> None:
        """Let old videos leave, fill the shelves anew and steer exposure; call it every few seconds, from any thread."""
        self.catalogue.evict(now_ms=now_ms)
        self.shelves.renew(now_ms=now_ms, rng=rng)
        self.fairness.renew(now_ms=now_ms)

    def close(self) -> None:
        """Give up on what is being loaded: nobody will ask for it."""
        self.closing.set()


def build_feed(
    settings: FeedSettings,
    source: ViewerSource,
    publish: Callable[[Slate, str | None], None],
    *,
    ranker: Callable[[str], Ranker | None] = lambda user_id: None,
    models: Callable[[str], str] = lambda user_id: "",
    canary_share: float = 0.0,
    experiments: ExperimentSettings | None = None,
) -> Feed:
    """Return an empty feed. `source` reads viewers' features; `publish` queues the slate event of each page.

    `ranker` returns what ranks for a viewer; where it returns None, the scorers made by hand do. `models` names all that serve
    a viewer. `canary_share` of viewers get the towers' canary where one runs.

    Raises:
        ValueError: a stage that can't be off, of the feed or of an experiment's arm.
    """
    catalogue, closing = Catalogue(settings), threading.Event()
    memory = _Memory(
        catalogue=catalogue,
        towers=Versions("towers", partial(load_space, catalogue, settings, closing), leave=catalogue.leave, share=canary_share),
        shelves=Shelves(catalogue, settings),
        fairness=Fairness(catalogue, settings),
        viewers=Viewers(source, settings),
        plans=Plans(settings),
        last_pages=LastPages(settings),
        publish=publish,
        ranker=ranker,
        models=models,
    )
    variants = None
    if experiments is not None and experiments.running:
        variants = Variants(experiments, settings, lambda changed, arm: _pipeline(changed, memory, arm))
    return Feed(
        catalogue,
        memory.towers,
        memory.shelves,
        memory.viewers,
        memory.plans,
        memory.last_pages,
        memory.fairness,
        _pipeline(settings, memory, "control"),
        closing,
        variants,
    )


@dataclass(frozen=True)
class _Memory:
    """What the pipelines of all arms share."""

    catalogue: Catalogue
    towers: Versions[Space]
    shelves: Shelves
    fairness: Fairness
    viewers: Viewers
    plans: Plans
    last_pages: LastPages
    publish: Callable[[Slate, str | None], None]
    ranker: Callable[[str], Ranker | None]
    models: Callable[[str], str]


def _pipeline(settings: FeedSettings, memory: _Memory, arm: str) -> FeedPipeline:
    catalogue, towers, shelves, fairness = memory.catalogue, memory.towers, memory.shelves, memory.fairness
    size, weights = settings.source_size, settings.weights
    stages = Stages(
        hydrators=(
            ViewerHydrator(memory.viewers),
            PlanHydrator(memory.plans),
            SeenHydrator(catalogue, memory.last_pages),
            TasteHydrator(catalogue, settings.recent_likes),
            WantedHydrator(catalogue, towers),
        ),
        sources=(
            AskedFor(catalogue.index, size),
            Planned(catalogue),
            WantedNext(size),
            SimilarToRecent(catalogue.index, size),
            SimilarToInterests(catalogue.index, size),
            Followed(catalogue, size),
            LiveNow(catalogue, size),
            Exploration(catalogue, shelves, size),
            Popular(shelves, size),
            Fresh(shelves, size),
        ),
        filters=(
            Servable(catalogue),
            Blocked(catalogue),
            Unsafe(catalogue, settings.unsafe_above),
            TooOld(catalogue, int(settings.max_age_h * _HOUR_MS)),
            Seen(),
        ),
        features=RankingFeatures(catalogue),
        ranker=Ranked(memory.ranker, settings.objectives),
        by_hand=(
            Interest(weights.interest),
            WantedScore(weights.wanted),
            Engagement(catalogue, shelves, settings.smoothing, weights.engagement),
            Freshness(catalogue, settings.freshness_half_life_h * _HOUR_MS, weights.freshness),
            FollowedAuthor(catalogue, weights.followed),
            LiveRoom(catalogue, weights.live),
        ),
        scorers=(
            PlanRank(catalogue, weights.plan),
            Steering(weights.steering),
            AuthorExposure(catalogue, fairness),
            Again(),
        ),
        selector=PageSelector(catalogue, shelves, settings, fairness),
        effects=(
            CountExposure(fairness, shelves),
            RememberServed(catalogue, memory.last_pages),
            SlateEvent(memory.publish, settings.policy_version, memory.models, arm),
        ),
    )
    return FeedPipeline(stages.without(settings.off), catalogue.vectors)
