from pathlib import Path

import numpy as np

from models.ranking.evaluation import page
from models.ranking.evaluation.baselines.item_knn import ItemKnn
from models.ranking.evaluation.baselines.popular import Popular
from models.ranking.evaluation.comparison import HEADLINES, compare, over
from models.ranking.evaluation.contenders import OURS, contenders, recipes
from models.ranking.evaluation.leave_one_out import split
from tests.models.test_leave_one_out import log_of


def test_recommenders_are_compared_on_the_same_viewers_and_shown_on_a_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    starts = rng.integers(12, size=80)
    cut = split(log_of(*([(start + at) % 12 for at in range(5)] for start in starts)))
    told: list[str] = []
    popular, neighbours = compare([Popular(), ItemKnn()], cut, told=told.append)
    assert told[0] == "popular: fitting to 240 watches"
    assert neighbours.figures()["hr_at_10_low"] <= neighbours.figures()["hr_at_10"] <= neighbours.figures()["hr_at_10_high"]
    ratio, low, high = over(neighbours, popular, "ndcg_at_10", seed=0)
    assert low < ratio < high
    assert ratio > 1
    page.write([popular, neighbours], tmp_path / "out" / "page.html", facts={"data": "<b>mine</b>"}, ours="item_knn")
    written = (tmp_path / "out" / "page.html").read_text()
    assert written.count('class="interval"') == 2 * len(HEADLINES)
    assert "&lt;b&gt;mine" in written


def test_the_field_is_complete_and_ours_is_last() -> None:
    names = [each.name for each in contenders(np.zeros((3, 4), np.float32), recipes(100, negatives=None, seed=0), seed=0)]
    simple = ["popular", "recent", "item_knn", "title_knn", "implicit_bm25", "implicit_als", "rtrec"]
    assert names == [*simple, "sasrec_titles", "sasrec_ids", OURS]
