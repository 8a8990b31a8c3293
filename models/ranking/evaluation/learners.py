"""Everything that is replayed: ours, and what a platform could have without us, each learning at the same syncs."""

import dataclasses

from models.ranking.blend import Blend
from models.ranking.evaluation.baselines.libraries import Implicit
from models.ranking.evaluation.baselines.popular import HALF_LIFE_MS
from models.ranking.evaluation.baselines.refitted import OnlineRtrec, OrPopular, Refitted
from models.ranking.evaluation.contenders import LEARNED, OURS
from models.ranking.learner import Learner
from models.ranking.running import LearningTowers
from models.ranking.signals import LikeTitles, PopularNow, WatchedNext, WatchedTogether
from models.retrieval.incremental import Refresh
from streams.features import Vector

DAY_MS = 86_400_000
# What the replay starts from is a tenth of a log: fewer watches want narrower towers and smaller steps.
WIDTH, PLACES, EPOCHS = 64, 512, 20
BLEND = "blend"


def learners(titles: Vector, *, negatives: int | None, seed: int, libraries: bool = True) -> list[Learner]:
    """Return them, ours last; `titles` are the embeddings of the videos' titles, (m, d).

    `negatives` are the videos of each step's softmax beside those wanted, None for all; without `libraries` there is neither
    rtrec nor implicit, which take minutes.
    """
    by_history: list[Learner] = [WatchedTogether("item_knn"), LikeTitles("title_knn", titles)]
    if libraries:
        # A fit takes as long at any time, and of fits an hour apart few would differ.
        by_history += [Refitted(each, every_ms=DAY_MS) for each in (Implicit("bm25"), Implicit("als", seed=seed))]
        by_history += [OnlineRtrec()]
    popular = [PopularNow("popular", None), PopularNow("recent", HALF_LIFE_MS)]
    learned = [towers(name, titles, negatives=negatives, seed=seed) for name in reversed(LEARNED)]
    return [*popular, *map(OrPopular, by_history), *learned, blend(titles, negatives=negatives, seed=seed)]


def towers(name: str, titles: Vector, *, negatives: int | None, seed: int) -> LearningTowers:
    """Return towers by our recipe, or SASRec's."""
    recipe = dataclasses.replace(LEARNED[name], negatives=negatives, seed=seed, width=WIDTH, places=PLACES, epochs=EPOCHS)
    return LearningTowers(name, recipe, Refresh(), titles)


def blend(titles: Vector, *, negatives: int | None, seed: int) -> Blend:
    """Return ours: the towers and what is fresh by the minute."""
    parts: list[Learner] = [
        towers(OURS, titles, negatives=negatives, seed=seed),
        WatchedNext(),
        WatchedTogether("together"),
        WatchedTogether("together_lately", last=10),
        PopularNow("popular", None),
        PopularNow("popular_today", DAY_MS),
        LikeTitles("like_lately", titles, last=3),
    ]
    return Blend(BLEND, parts)
