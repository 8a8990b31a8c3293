"""Everything that is compared: ours, and what a platform could have without us. Transformers are tuned, each on its own."""

import dataclasses
from collections.abc import Callable
from functools import partial

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


def recipes(watches: int, *, negatives: int | None, seed: int) -> dict[str, Recipe]:
    """Return by name how each that learns does so from so many watches.

    `negatives` are the videos of each step's softmax beside those wanted, None for all.
    """
    return {name: dataclasses.replace(each, negatives=negatives, seed=seed).sized(watches) for name, each in LEARNED.items()}


def contenders(
    titles: Vector,
    learned: dict[str, Recipe],
    *,
    seed: int,
    libraries: bool = True,
    told: Told = lambda name, loss: None,
) -> list[Recommender]:
    """Return them, ours last; `titles` are the embeddings of the videos' titles, (m, d), `learned` the `recipes`.

    Without `libraries` there is neither rtrec nor implicit, which take minutes.
    """
    simple: list[Recommender] = [Popular(), Recent(), ItemKnn(), TitleKnn(titles)]
    if libraries:
        simple += [Implicit("bm25"), Implicit("als", seed=seed), Rtrec()]
    return [*simple, *(TwoTowers(name, learned[name], titles, done=partial(told, name)) for name in reversed(learned))]
