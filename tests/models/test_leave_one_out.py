from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.ranking.evaluation.baselines.item_knn import ItemKnn
from models.ranking.evaluation.baselines.libraries import Implicit
from models.ranking.evaluation.baselines.popular import Popular, Recent
from models.ranking.evaluation.baselines.title_knn import TitleKnn
from models.ranking.evaluation.drawn_again import ratio
from models.ranking.evaluation.leave_one_out import (
    Held,
    Ranks,
    Recommender,
    Scores,
    interval,
    judge,
    ranks_of,
    split,
)
from models.retrieval.log import History, WatchLog


def seen(*videos: int) -> History:
    """Return a history of completed videos, one a second."""
    n = len(videos)
    return History(np.array(videos, np.int64), np.full(n, 0.6, np.float32), np.arange(n) * 1_000)


def log_of(
    *watched: Sequence[int], videos: int = 12, at: Sequence[int] | None = None, interest: Sequence[float] | None = None
) -> WatchLog:
    lengths = [len(each) for each in watched]
    return WatchLog(
        viewer_ids=tuple(str(viewer) for viewer in range(len(watched))),
        video_ids=tuple(str(video) for video in range(videos)),
        texts=("",) * videos,
        bounds=np.concatenate([[0], np.cumsum(lengths)]),
        videos=np.array([video for each in watched for video in each], np.int64),
        at=np.array(at if at is not None else range(sum(lengths)), np.int64),
        interest=np.array(interest if interest is not None else [0.6] * sum(lengths), np.float32),
    )


def test_the_last_two_watches_are_held_out_and_the_rest_is_learned_from() -> None:
    cut = split(log_of([0, 1, 2, 3], [4, 5], [6, 7, 8]))
    assert [list(cut.train.of(viewer)) for viewer in range(3)] == [[0, 1], [4, 5], [6]]
    assert [list(history.videos) for history in cut.validation.histories] == [[0, 1], [6]]
    assert list(cut.validation.wanted) == [2, 7]
    assert [list(history.videos) for history in cut.test.histories] == [[0, 1, 2], [6, 7]]
    assert list(cut.test.wanted) == [3, 8]


def test_cold_is_what_had_few_watches_before_the_cut() -> None:
    often = [[1, 9, 9 - at] for at in range(3)]
    cut = split(log_of(*([[0, 1, 2, 0]] * 6), [3, 4, 1, 5], *often))
    assert dict(zip(cut.test.wanted.tolist(), cut.test.cold.tolist(), strict=True)) == {
        0: False,
        5: True,
        9: True,
        8: True,
        7: True,
    }


@pytest.mark.parametrize("model", [Popular(), Recent(), ItemKnn(), TitleKnn(np.eye(12, 5, dtype=np.float32)), Implicit("bm25")])
def test_no_prediction_of_the_past_knows_the_future(model: Recommender) -> None:
    """What is held out may be anything: no score changes."""
    rng = np.random.default_rng(0)
    past = [list(rng.permutation(12)[:4]) for _ in range(30)]
    tails = [[list(rng.permutation(12)[:2]) for _ in past] for _ in range(2)]
    scores = []
    for futures in tails:
        cut = split(log_of(*(before + after for before, after in zip(past, futures, strict=True))))
        model.fit(cut.train, cut.validation)
        scores.append(model.scores(cut.validation.histories))
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)


class Told:
    name = "told"

    def __init__(self, scores: Scores) -> None:
        self._scores = scores

    def fit(self, train: WatchLog, validation: Held) -> None: ...

    def scores(self, histories: Sequence[History]) -> Scores:
        return self._scores[: len(histories)]


def test_a_rank_counts_candidates_only_and_ties_half() -> None:
    scores = np.array([[9.0, 5.0, 7.0, 5.0, 5.0]], np.float32)
    assert ranks_of(scores, [seen(0)], np.array([1])) == [2.0]
    assert ranks_of(scores, [seen(0, 2)], np.array([1])) == [1.0]
    assert ranks_of(np.zeros((1, 5), np.float32), [seen(0)], np.array([1])) == [1.5]


def test_a_video_that_was_watched_before_can_be_wanted_again() -> None:
    assert ranks_of(np.array([[3.0, 2.0, 1.0]], np.float32), [seen(1, 2)], np.array([1])) == [1.0]


def test_figures_are_of_all_and_of_cold_ones_apart() -> None:
    ranks = Ranks(np.array([0.0, 1.0, 15.0, 50.0]), np.array([False, True, True, False]))
    figures = ranks.figures()
    assert (figures["hr_at_10"], figures["hr_at_20"], figures["cold_hr_at_10"]) == (0.5, 0.75, 0.5)
    assert figures["ndcg_at_10"] == pytest.approx((1 + 1 / np.log2(3)) / 4, abs=1e-5)


@given(st.lists(st.integers(0, 9), min_size=10, max_size=10))
def test_a_better_score_never_ranks_lower(values: list[int]) -> None:
    scores = np.array([values], np.float32)
    higher = scores.copy()
    higher[0, 3] += 1
    nobody = [seen()]
    assert ranks_of(higher, nobody, np.array([3])) <= ranks_of(scores, nobody, np.array([3]))


def test_a_model_is_judged_batch_by_batch() -> None:
    scores = np.tile(np.arange(12, dtype=np.float32), (600, 1))
    held = Held(tuple(seen(11) for _ in range(600)), np.full(600, 10), np.zeros(600, bool))
    done: list[int] = []
    assert judge(Told(scores), held, done=done.append).hits(1).mean() == 1.0
    assert sum(done) == 600


def test_intervals_hold_the_mean_and_shrink_with_more_viewers() -> None:
    rng = np.random.default_rng(0)
    few, many = (rng.random(count) for count in (100, 10_000))
    assert interval(few)[0] < few.mean() < interval(few)[1]
    assert interval(many)[1] - interval(many)[0] < interval(few)[1] - interval(few)[0]
    low, high = ratio(2 * many, many, seed=0, draws=50)
    assert low == pytest.approx(2)
    assert high == pytest.approx(2)


def test_a_model_that_did_not_learn_finds_nothing_and_says_so() -> None:
    held = Held((seen(0),), np.array([1]), np.array([False]))
    with pytest.raises(ValueError, match="told: expected a number for every video"):
        judge(Told(np.full((1, 12), np.nan, np.float32)), held)
