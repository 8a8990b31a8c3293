"""Questions out of a log: what is asked of whom, that no place tells, and that nothing of it knows the future."""

from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.ranking.evaluation.baselines.item_knn import ItemKnn
from models.ranking.evaluation.baselines.popular import Popular
from models.ranking.evaluation.leave_one_out import split
from models.retrieval.log import WatchLog
from models.viewers.evaluation.asked import Asked, asked, drawn, hard, moments
from models.viewers.evaluation.protocol import Negatives
from streams.ports import Video
from tests.models.test_leave_one_out import log_of, seen

VIDEOS = 30


@cache
def find(video_id: str) -> Video:
    number = int(video_id)
    embedding = np.random.default_rng(number).normal(size=384).astype(np.float32)
    return Video(
        video_id=video_id,
        author_id="a",
        title=f"title {number}",
        embedding=embedding / np.linalg.norm(embedding),
        topics=(f"topic {number % 3}",),
        duration_ms=None,
        kind="video",
    )


def pasts(viewers: int = 60) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [[int(video) for video in rng.permutation(VIDEOS)[: rng.integers(2, 9)]] for _ in range(viewers)]


def ended(past: Sequence[Sequence[int]], seed: int, *, last: int) -> WatchLog:
    """Return the log of these pasts, each followed by `last` other videos that the seed draws."""
    rng = np.random.default_rng(seed)
    ends = [rng.permutation([v for v in range(VIDEOS) if v not in before])[:last] for before in past]
    return log_of(*([*before, *map(int, end)] for before, end in zip(past, ends, strict=True)), videos=VIDEOS)


def questions_of(log: WatchLog, *, seed: int = 0, negatives: Negatives = Negatives.FIRST) -> tuple[list[Asked], list[Asked]]:
    """Return what is asked to learn from and to judge by, of all viewers."""
    cut = split(log)
    recommender = ItemKnn()
    recommender.fit(cut.train, cut.validation)
    validation, test = (asked(of, log, recommender, find, seed=seed, negatives=negatives) for of in moments(log, cut))
    return validation, test


def test_the_wanted_video_is_the_last_one_and_the_viewer_is_what_was_before() -> None:
    log = log_of([3, 1, 4, 5], *pasts(), videos=VIDEOS)
    validation, test = questions_of(log)
    first, last = validation[0], test[0]
    assert (first.question.video_ids[first.question.wanted], first.question.known) == ("4", 2)
    assert (last.question.video_ids[last.question.wanted], last.question.known) == ("5", 3)
    assert last.question.at == 3
    assert last.viewer.history is not None
    assert last.viewer.history.video_ids == ["3", "1", "4"]
    assert '"title 4"' in last.question.viewer
    assert '"title 5"' not in last.question.viewer
    assert last.question.videos[last.question.wanted] == '"title 5" about topic 2'


def test_the_others_are_the_first_of_the_recommenders_list_without_what_was_watched() -> None:
    scores = np.array([9, 8, 7, 6, 5, 4, 3], np.float32)
    assert hard(scores, seen(0, 3), 5, most=3) == ([1, 2, 4], [3.0, 0.0, 1.0, 2.0])
    assert hard(scores, seen(0, 3), 1, most=3) == ([2, 4, 5], [0.0, 1.0, 2.0, 3.0])


def test_or_they_are_those_around_the_wanted_one() -> None:
    scores = np.arange(20, 0, -1).astype(np.float32)
    assert hard(scores, seen(), 10, most=4, before=1) == ([9, 11, 12, 13], [10.0, 9.0, 11.0, 12.0, 13.0])
    assert hard(scores, seen(), 0, most=4, before=3)[0] == [1, 2, 3, 4]
    assert hard(scores, seen(), 19, most=4, before=0)[0] == [15, 16, 17, 18]


def test_equals_come_in_any_order_but_those_that_are_better_first() -> None:
    scores = np.array([1, 1, 1, 1, 1, 1, 2, 0], np.float32)
    drawn_others = [hard(scores, seen(), 7, most=3, rng=np.random.default_rng(seed))[0] for seed in range(200)]
    assert {others[0] for others in drawn_others} == {6}
    assert {video for others in drawn_others for video in others} == set(range(7))


def test_what_a_recommender_cant_tell_apart_puts_the_wanted_one_in_the_middle() -> None:
    assert hard(np.zeros(5, np.float32), seen(), 0, most=2)[1][0] == 2.0


@given(st.lists(st.integers(0, 3), min_size=12, max_size=12), st.integers(0, 11), st.none() | st.integers(0, 4))
def test_others_are_never_the_wanted_one_or_of_the_past_and_ranks_follow_scores(
    values: list[int], wanted: int, before: int | None
) -> None:
    scores = np.array(values, np.float32)
    past = [video for video in (1, 5, 7) if video != wanted]
    others, (_, *ranks) = hard(scores, seen(*past), wanted, most=4, before=before)
    assert len(set(others)) == 4
    assert not {wanted, *past} & set(others)
    assert ranks == sorted(ranks)
    assert [scores[video] for video in others] == sorted((scores[video] for video in others), reverse=True)


def test_the_same_seed_asks_the_same_whoever_else_is_asked() -> None:
    log = ended(pasts(), 0, last=2)
    cut = split(log)
    popular = Popular()
    popular.fit(cut.train, cut.validation)
    _, test = moments(log, cut)
    alone = asked(test.chosen(np.array([7])), log, popular, find, seed=5)
    assert [alone[0].question] == [each.question for each in asked(test, log, popular, find, seed=5)[7:8]]
    assert alone[0].question != asked(test, log, popular, find, seed=6)[7].question


@pytest.mark.parametrize("candidates", [4, 5, 11])
@pytest.mark.parametrize("negatives", Negatives)
def test_the_wanted_one_is_in_any_place_as_often(candidates: int, negatives: Negatives) -> None:
    _, test = questions_of(ended(pasts(600), 0, last=2), negatives=negatives)
    places = Counter(each.question.cut(candidates).wanted for each in test)
    expected = len(test) / candidates
    # Six standard deviations of a fair draw.
    assert all(abs(places[place] - expected) < 6 * expected**0.5 for place in range(candidates))


def test_around_the_wanted_one_the_recommenders_order_is_at_chance() -> None:
    _, test = questions_of(ended(pasts(600), 0, last=2), negatives=Negatives.AROUND)
    cuts = [(each.question.cut(4), each.ranks) for each in test]
    right = np.mean([question.wanted == int(np.argmin([ranks[v] for v in question.video_ids])) for question, ranks in cuts])
    assert abs(right - 0.25) < 6 * (0.25 * 0.75 / len(test)) ** 0.5


def test_a_question_that_is_cut_keeps_the_order_and_grows_by_the_same_others() -> None:
    _, test = questions_of(ended(pasts(), 0, last=2))
    question = test[0].question
    four, five = question.cut(4), question.cut(5)
    assert set(four.video_ids) < set(five.video_ids) < set(question.video_ids)
    assert [video for video in question.video_ids if video in five.video_ids] == list(five.video_ids)
    assert four.video_ids[four.wanted] == question.video_ids[question.wanted]


@pytest.mark.parametrize("negatives", Negatives)
def test_what_is_learned_from_does_not_change_with_what_comes_after_it(negatives: Negatives) -> None:
    """Last watches may be any: the questions about the ones before them stay as they are, and so do all ranks."""
    past = [each for each in pasts() if len(each) > 2]
    (one, _), (other, _) = (questions_of(ended(past, seed, last=1), negatives=negatives) for seed in (1, 2))
    assert [each.question for each in one] == [each.question for each in other]
    assert [each.ranks for each in one] == [each.ranks for each in other]


def test_of_what_is_judged_only_the_wanted_one_and_its_place_change_with_it() -> None:
    past = [each for each in pasts() if len(each) > 2]
    (_, one), (_, other) = (questions_of(ended(past, seed, last=1)) for seed in (1, 2))

    def listed(asked: Asked, *without: str) -> list[str]:
        in_order = sorted(asked.ranks, key=lambda video: asked.ranks[video])
        return [video for video in in_order if video not in without][:8]

    assert [each.question.viewer for each in one] == [each.question.viewer for each in other]
    assert [each.question.known for each in one] == [each.question.known for each in other]
    for a, b in zip(one, other, strict=True):
        both = a.question.video_ids[a.question.wanted], b.question.video_ids[b.question.wanted]
        assert listed(a, *both) == listed(b, *both)


def test_who_is_judged_is_nobody_who_is_learned_from() -> None:
    judged, learned, taught = drawn(100, judged=30, learned=50, taught=60, seed=1)
    assert (len(judged), len(learned), len(taught)) == (30, 50, 20)
    assert len({*judged, *learned, *taught}) == 100
    assert set(drawn(100, judged=30, learned=10, seed=1)[0]) == set(judged)
