"""Prequential replay: what is known when, for the protocol and for everything that is replayed."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ranking.blend import Blend
from models.ranking.evaluation import page
from models.ranking.evaluation.baselines.item_knn import ItemKnn
from models.ranking.evaluation.baselines.libraries import Implicit
from models.ranking.evaluation.baselines.refitted import OnlineRtrec, OrPopular, Refitted
from models.ranking.evaluation.drawn_again import ratio
from models.ranking.evaluation.learners import BLEND, learners
from models.ranking.evaluation.lines import over_time
from models.ranking.evaluation.prequential import blocks, over, replay, start, watched_before
from models.ranking.learner import Asked, Learner, Scores, seen_before
from models.ranking.running import LearningTowers
from models.ranking.signals import LikeTitles, PopularNow, WatchedNext, WatchedTogether
from models.retrieval.incremental import Refresh
from models.retrieval.log import WatchLog
from models.retrieval.recipe import Recipe
from models.retrieval.windows import Chosen
from tests.models.test_leave_one_out import log_of, seen

VIDEOS = 12
TITLES = np.random.default_rng(1).normal(size=(VIDEOS, 8)).astype(np.float32)
SMALL = Recipe(
    actions=True, gaps=True, width=16, heads=2, epochs=2, learning_rate=1e-2, weight_decay=0.01, warm_up=2, places=128
)
HOUR_MS = 3_600_000


def watched_of(seed: int, viewers: int = 20, each: int = 6, hours: int = 40) -> WatchLog:
    rng = np.random.default_rng(seed)
    at = np.concatenate([np.sort(rng.integers(hours * 3_600, size=each)) * 1_000 for _ in range(viewers)])
    watched = [rng.permutation(VIDEOS)[:each].tolist() for _ in range(viewers)]
    return log_of(*watched, videos=VIDEOS, at=at.tolist(), interest=rng.choice([0.6, 0.8, 1.0], len(at)).tolist())


def with_another_future(log: WatchLog, after_ms: int, seed: int) -> WatchLog:
    """Return the log with every watch after a time of another video, at another time after it and of another interest."""
    rng = np.random.default_rng(seed)
    videos, at = log.videos.copy(), log.at.copy()
    for viewer in range(len(log.viewer_ids)):
        of_viewer = slice(log.bounds[viewer], log.bounds[viewer + 1])
        later = np.flatnonzero(log.at[of_viewer] >= after_ms) + log.bounds[viewer]
        left = np.setdiff1d(np.arange(VIDEOS), log.videos[of_viewer][log.at[of_viewer] < after_ms])
        videos[later] = rng.permutation(left)[: len(later)]
        at[later] = np.sort(after_ms + rng.integers(10 * HOUR_MS, size=len(later)))
    interest = np.where(log.at >= after_ms, rng.choice([0.6, 0.8, 1.0], len(log)), log.interest).astype(np.float32)
    return dataclasses.replace(log, videos=videos, at=at, interest=interest)


class Remembers:
    """A learner that keeps what it was told."""

    name = "remembers"

    def __init__(self) -> None:
        self.logs: list[tuple[WatchLog, Chosen]] = []
        self.asked: list[tuple[int, list[int]]] = []
        self.newest: list[int] = []

    def learn(self, log: WatchLog, new: Chosen) -> None:
        self.logs.append((log, new))

    def scores(self, asked: Asked) -> Scores:
        self.newest += [int(self.logs[-1][0].at.max())] * len(asked)
        self.asked += [(int(at), history.videos.tolist()) for at, history in zip(asked.at, asked.histories, strict=True)]
        return np.zeros((len(asked), VIDEOS), np.float32)


def towers(recipe: Recipe = SMALL) -> LearningTowers:
    return LearningTowers("towers", recipe, Refresh(rows=1), TITLES)


LEARNERS: list[Callable[[], Learner]] = [
    lambda: PopularNow("popular", None),
    lambda: PopularNow("recent", HOUR_MS),
    lambda: OrPopular(WatchedTogether("together")),
    lambda: OrPopular(WatchedTogether("lately", last=2)),
    WatchedNext,
    lambda: OrPopular(LikeTitles("titles", TITLES, last=3)),
    lambda: OrPopular(Refitted(Implicit("bm25"), every_ms=2 * HOUR_MS)),
    lambda: OrPopular(OnlineRtrec()),
    towers,
    lambda: Blend("blend", [towers(), PopularNow("popular", None), WatchedNext()]),
]


# ── the protocol ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("made", LEARNERS)
def test_no_prediction_of_the_past_knows_the_future(made: Callable[[], Learner]) -> None:
    """After a time everything may be otherwise: no rank before it changes."""
    log, after_ms = watched_of(0), 24 * HOUR_MS
    found = []
    for each in (log, with_another_future(log, after_ms, seed=1), with_another_future(log, after_ms, seed=2)):
        result = replay(made(), each, sync_ms=4 * HOUR_MS, judged=(0.3, 1.0))
        before = result.at < after_ms
        found.append(
            {
                (viewer, at): rank
                for viewer, at, rank in zip(result.viewers[before], result.at[before], result.ranks.ranks[before], strict=True)
            }
        )
    assert len(found[0]) > 20
    assert found[0] == pytest.approx(found[1])
    assert found[0] == pytest.approx(found[2])


@given(seed=st.integers(0, 1_000), quarters=st.integers(1, 50))
@settings(max_examples=8, deadline=None)
def test_every_watch_is_predicted_once_before_it_is_learned_from(seed: int, quarters: int) -> None:
    log = watched_of(seed, viewers=8)
    learner = Remembers()
    result = replay(learner, log, sync_ms=quarters * HOUR_MS // 4)
    first, _ = learner.logs[0]
    assert len(first) + len(result.at) == len(log)
    assert sum(int(new.sum()) for _, new in learner.logs) == len(learner.logs[-1][0])
    assert all(newest < at for newest, (at, _) in zip(learner.newest, learner.asked, strict=True))
    assert list(result.at) == sorted(result.at)


def test_a_history_is_known_to_the_second_and_the_same_second_not() -> None:
    log = log_of([0, 1, 2, 3, 4], videos=VIDEOS, at=[0, 5_000, 5_000, 5_900, 6_000])
    assert seen_before(log).tolist() == [0, 1, 1, 1, 4]
    learner = Remembers()
    replay(learner, log, sync_ms=HOUR_MS, judged=(0.2, 1.0))
    assert learner.asked == [(5_000, [0]), (5_000, [0]), (5_900, [0]), (6_000, [0, 1, 2, 3])]


def test_a_history_can_be_as_old_as_the_last_sync() -> None:
    log = log_of([0, 1, 2, 3], videos=VIDEOS, at=[0, HOUR_MS, HOUR_MS + 5_000, 2 * HOUR_MS])
    learner = Remembers()
    replay(learner, log, sync_ms=HOUR_MS, judged=(0.25, 1.0), fresh_histories=False)
    assert [history for _, history in learner.asked] == [[0], [0], [0, 1, 2]]


def test_what_the_viewer_watched_is_no_candidate_however_old_its_history_is() -> None:
    log = log_of([0, 1, 2, 3], videos=4, at=[0, HOUR_MS, HOUR_MS + 5_000, HOUR_MS + 9_000])

    class Zeros(Remembers):
        def scores(self, asked: Asked) -> Scores:
            return np.zeros((len(asked), 4), np.float32)

    # Of candidates that are all alike the wanted one is in the middle: of three, of two, of one.
    assert replay(Zeros(), log, sync_ms=HOUR_MS, judged=(0.25, 1.0), fresh_histories=False).ranks.ranks.tolist() == [1, 0.5, 0]


def test_what_has_started_learns_only_what_is_new() -> None:
    log = watched_of(2)
    whole, resumed = Remembers(), Remembers()
    start(resumed, log, judged=(0.2, 1.0))
    results = [
        replay(learner, log, sync_ms=HOUR_MS, judged=(0.2, 1.0), started=learner is resumed) for learner in (whole, resumed)
    ]
    assert [int(new.sum()) for _, new in whole.logs] == [int(new.sum()) for _, new in resumed.logs]
    assert whole.asked == resumed.asked
    assert results[0].syncs == results[1].syncs


def test_without_syncs_it_learns_once_and_a_day_of_nothing_is_no_sync() -> None:
    log = log_of([0, 1, 2, 3], videos=VIDEOS, at=[0, HOUR_MS, 99 * HOUR_MS, 100 * HOUR_MS])
    assert replay(Remembers(), log, sync_ms=None, judged=(0.25, 1.0)).syncs == 1
    assert replay(Remembers(), log, sync_ms=HOUR_MS, judged=(0.25, 1.0)).syncs == 3
    assert len(list(blocks(log, sync_ms=24 * HOUR_MS, judged=(0.25, 1.0)))) == 2


def test_a_wrong_clock_puts_a_watch_where_it_says_and_moves_no_other() -> None:
    log = watched_of(3)
    at = log.at.copy()
    at[log.bounds[4]] = -400 * 24 * HOUR_MS
    learner = Remembers()
    result = replay(learner, dataclasses.replace(log, at=at), sync_ms=HOUR_MS)
    assert learner.logs[0][0].at.min() == at.min()
    assert set(result.at.tolist()) <= set(log.at.tolist())
    assert all(newest < at for newest, (at, _) in zip(learner.newest, learner.asked, strict=True))


def test_a_log_of_one_second_or_none_says_what_it_lacks() -> None:
    with pytest.raises(ValueError, match="and others before them; got 3"):
        replay(Remembers(), log_of([0, 1, 2], videos=VIDEOS, at=[0, 0, 0]), sync_ms=HOUR_MS)
    with pytest.raises(ValueError, match="got 0, of which"):
        replay(Remembers(), log_of([], videos=VIDEOS), sync_ms=HOUR_MS)


def test_a_learner_that_gives_no_number_is_named() -> None:
    class Broken(Remembers):
        name = "broken"

        def scores(self, asked: Asked) -> Scores:
            return np.full((len(asked), VIDEOS), np.nan, np.float32)

    with pytest.raises(ValueError, match="broken: expected a number for every video"):
        replay(Broken(), watched_of(0), sync_ms=HOUR_MS)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=12))
def test_a_video_is_cold_by_the_watches_of_earlier_seconds(events: list[tuple[int, int]]) -> None:
    events.sort(key=lambda event: event[1])
    log = log_of(*([video] for video, _ in events), videos=4, at=[second * 1_000 for _, second in events])
    expected = [sum(other == video and earlier < second for other, earlier in events) for video, second in events]
    assert watched_before(log).tolist() == expected


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_interval_is_over_viewers_and_not_over_their_watches() -> None:
    values = np.repeat([1.0, 0.0] * 10, 50)
    of_watches = ratio(values, np.ones(1_000), seed=0)
    of_viewers = ratio(values.reshape(20, 50).sum(axis=1), np.full(20, 50.0), seed=0)
    assert of_viewers[0] < of_watches[0] < 0.5 < of_watches[1] < of_viewers[1]


def test_what_is_better_is_above_one_and_is_drawn_over_time(tmp_path: Path) -> None:
    log = watched_of(0, viewers=60)
    better, worse = (replay(made, log, sync_ms=HOUR_MS) for made in (PopularNow("popular", None), Remembers()))
    assert over(worse, worse, "ndcg_at_10", seed=0) == (1, 1, 1)
    ratio, low, high = over(better, worse, "ndcg_at_10", seed=0)
    assert low < ratio < high
    chart = over_time([better, worse])
    assert [name for name, *_ in chart.lines] == ["popular", "remembers"]
    page.write([better, worse], tmp_path / "page.html", facts={}, ours="popular", protocol=page.REPLAYED, lines=[chart])
    written = (tmp_path / "page.html").read_text()
    assert written.count("<polyline") == 2
    assert written.count('class="first"') == 1
    assert better.figures()["hr_at_10_low"] <= better.figures()["hr_at_10"] <= better.figures()["hr_at_10_high"]


# ── what learns ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("made", [lambda: WatchedTogether("together"), WatchedNext, lambda: PopularNow("popular", HOUR_MS)])
def test_counts_that_grow_are_those_of_the_whole_log(made: Callable[[], Learner]) -> None:
    log = watched_of(5)
    whole, grown = made(), made()
    whole.learn(log, np.ones(len(log), bool))
    for block_ends in (10, 25, 40):
        lengths = np.bincount(log.viewers()[log.at < block_ends * HOUR_MS], minlength=len(log.viewer_ids))
        known = log.first(lengths)
        places = np.arange(len(known)) - np.repeat(known.bounds[:-1], known.lengths)
        grown.learn(known, known.at >= (block_ends - 15) * HOUR_MS if block_ends > 10 else places >= 0)
    asked = Asked((seen(1, 2, 3), seen()), np.array([41 * HOUR_MS] * 2))
    np.testing.assert_allclose(grown.scores(asked), whole.scores(asked), rtol=1e-5)


def test_what_was_watched_next_and_in_the_same_second_is_near() -> None:
    learner = WatchedNext()
    log = log_of([0, 1, 2], [0, 1, 3], videos=VIDEOS, at=[0, 5_000, 5_000, 0, 9_000, 20_000])
    learner.learn(log, np.ones(6, bool))
    (after,) = learner.scores(Asked((seen(0),), np.array([0])))
    assert after[1] > after[2] > after[3] > after[4]
    (after,) = learner.scores(Asked((seen(2),), np.array([0])))
    assert after[1] > after[0]


def test_decayed_counts_rank_what_is_watched_now_first() -> None:
    log = log_of([0], [0], [0], [1], videos=2, at=[0, 0, 0, 10 * HOUR_MS])
    nobody = Asked((seen(),), np.array([10 * HOUR_MS]))
    now, ever = PopularNow("now", HOUR_MS), PopularNow("ever", None)
    for each in (now, ever):
        each.learn(log, np.ones(4, bool))
    assert now.scores(nobody)[0].argmax() == 1
    assert ever.scores(nobody)[0].argmax() == 0


class Knows:
    """A learner that always has the same scores."""

    def __init__(self, name: str, scores: Sequence[float]) -> None:
        self.name = name
        self._scores = np.array(scores, np.float32)

    def learn(self, log: WatchLog, new: Chosen) -> None: ...

    def scores(self, asked: Asked) -> Scores:
        return np.tile(self._scores, (len(asked), 1))


def test_a_blend_comes_to_trust_what_is_right_and_repeats_itself() -> None:
    log = log_of(*([at % 3] for at in range(200)), videos=VIDEOS, at=[at * 1_000 for at in range(200)])
    right, wrong = [1.0] * 3 + [0.0] * 9, [0.0] * 6 + [1.0] * 6
    blends = []
    for _ in range(2):
        blend = Blend("blend", [Knows("wrong", wrong), Knows("right", right)])
        blend.learn(log, np.ones(200, bool))
        blends.append(blend)
    assert (blends[0].weights[0] == blends[1].weights[0]).all()
    assert blends[0].weights[0, 1] > 0 > blends[0].weights[0, 0] - 1
    assert blends[0].scores(Asked((seen(),), np.array([0])))[0].argmax() < 3


def test_who_watched_nothing_gets_what_is_watched_most() -> None:
    learner = OrPopular(Refitted(ItemKnn(), every_ms=0))
    log = log_of([0, 1], [0, 2], [0, 3], videos=VIDEOS)
    learner.learn(log, np.ones(6, bool))
    assert learner.scores(Asked((seen(), seen(1)), np.array([0, 0]))).argmax(axis=1).tolist() == [0, 0]


def test_the_field_is_complete_and_ours_is_last() -> None:
    names = [each.name for each in learners(TITLES, negatives=None, seed=0)]
    simple = ["popular", "recent", "item_knn", "title_knn", "implicit_bm25", "implicit_als", "rtrec"]
    assert names == [*simple, "sasrec_titles", "sasrec_ids", "two_towers", BLEND]
