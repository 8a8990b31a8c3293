"""Everything that is compared: ours, and what a platform could have without us. Transformers are tuned, each on its own."""

import dataclasses
from collections.abc import Callable

from models.ranking.evaluation.baselines.item_knn import ItemKnn
from models.ranking.evaluation.baselines.libraries import Implicit, Rtrec
from models.ranking.evaluation.baselines.popular import Popular, Recent
from models.ranking.evaluation.baselines.title_knn import TitleKnn
from models.ranking.evaluation.leave_one_out import Recommender
from models.ranking.evaluation.two_towers import TwoTowers
from models.retrieval.recipe import SASREC_IDS, SASREC_TITLES, Recipe
from streams.features import Vector

OURS = "two_towers"
# Told the name of what learns, and the loss of each of its steps.
Told = Callable[[str, float], None]
LEARNED = {OURS: Recipe(), "sasrec_ids": SASREC_IDS, "sasrec_titles": SASREC_TITLES}


def contenders(
    titles: Vector, *, negatives: int | None, seed: int, libraries: bool = True, told: Told = lambda name, loss: None
) -> list[Recommender]:
    """Return them, ours last; `titles` are the embeddings of the videos' titles, (m, d).

    `negatives` are the videos of each step's softmax beside those wanted, None for all; without `libraries` there is neither
    rtrec nor implicit, which take minutes.
    """
    simple: list[Recommender] = [Popular(), Recent(), ItemKnn(), TitleKnn(titles)]
    if libraries:
        simple += [Implicit("bm25"), Implicit("als", seed=seed), Rtrec()]
    return [*simple, *(_towers(name, titles, negatives, seed, told) for name in reversed(LEARNED))]


def _towers(name: str, titles: Vector, negatives: int | None, seed: int, told: Told) -> TwoTowers:
    recipe = dataclasses.replace(LEARNED[name], negatives=negatives, seed=seed)
    return TwoTowers(name, recipe, titles, done=lambda loss: told(name, loss))
