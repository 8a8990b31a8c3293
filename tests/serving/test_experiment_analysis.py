"""What is said of experiments: right however often one looks, of viewers, and without those who were erased."""

import itertools
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.experiments.analysis import VIEWERS_FLOOR, analysed
from serving.experiments.confidence import Totals, compared, sample_ratio_p
from serving.experiments.outcomes import ExperimentOutcomes
from serving.experiments.settings import METRICS, Experiment, ExperimentSettings
from serving.experiments.tally import Tally
from serving.experiments.view import ArmView, ExperimentView
from streams.events import Feedback, Outcome, Purged
from streams.follower import Followed
from streams.topics import FEEDBACK, PURGES

NOW = 1_800_000_000_000
ALPHA = 0.05
Amounts = NDArray[np.float64]


def totals(m: Amounts, x: Amounts, squares: Amounts) -> Totals:
    return Totals(len(m), m.sum(), x.sum(), float(x @ x), float(x @ m), float(m @ m), squares.sum())


def peeked(runs: int, *, moods: float, effect: float = 0.0, viewers: int = 300, looks: int = 30) -> tuple[float, float]:
    """Return how often experiments looked at after every batch ever seem to differ: always validly, and by a z test.

    Viewers come over time, come again at different rates, and have `moods` of their own.
    """
    rng = np.random.default_rng(0)
    treated = rng.random((runs, viewers)) < 0.5
    mood = rng.normal(0.0, moods, (runs, viewers)) + effect * treated
    rate, came = rng.gamma(1.0, 6.0, (runs, viewers)), rng.integers(looks // 3, size=(runs, viewers))
    m, x, squares = np.zeros((3, runs, viewers))
    valid, naive = np.zeros((2, runs), dtype=np.bool_)
    for look in range(looks):
        more = rng.poisson(rate) * (came <= look)
        seen = more * mood + rng.normal(0.0, 1.0, (runs, viewers)) * np.sqrt(more)
        m, x, squares = m + more, x + seen, squares + more * (mood**2 + 1.0) + 2.0 * mood * (seen - more * mood)
        arms = [
            np.stack([(side & (m > 0)), side * m, side * x, side * x**2, side * x * m, side * m**2, side * squares])
            .sum(axis=2)
            .T
            for side in (treated, ~treated)
        ]
        for number in range(runs):
            ours, control = (Totals(int(arm[number, 0]), *arm[number, 1:].tolist()) for arm in arms)
            if min(ours.viewers, control.viewers) >= VIEWERS_FLOOR:
                interval = compared(ours, control, alpha=ALPHA)
                assert interval is not None
                valid[number] |= not interval.low <= 0 <= interval.high
                naive[number] |= abs(interval.difference) > 1.96 * np.sqrt(ours.variance + control.variance)
    return float(valid.mean()), float(naive.mean())


@pytest.mark.parametrize(("moods", "wolves"), [(0.0, 0.15), (0.3, 0.075)])
def test_an_arm_that_changes_nothing_is_seldom_said_to_differ_however_often_one_looks(moods: float, wolves: float) -> None:
    valid, naive = peeked(500, moods=moods)
    assert valid <= ALPHA
    # As often does a z test that is meant to be wrong once in twenty times cry wolf, at least.
    assert naive > wolves


def test_a_real_difference_is_found() -> None:
    assert peeked(40, moods=0.3, effect=0.25)[0] > 0.9


def test_impressions_of_one_viewer_are_not_so_many_opinions() -> None:
    # Each viewer looks a hundred times and always feels the same: a hundred impressions say what one does.
    m, mood = np.full(200, 100.0), np.random.default_rng(0).normal(size=200)
    many, once = totals(m, m * mood, m * mood**2), totals(np.ones(200), mood, mood**2)
    assert many.variance == pytest.approx(once.variance)
    interval = compared(many, many, alpha=ALPHA)
    assert interval is not None
    assert interval.high > 1.96 * np.sqrt(2 * many.variance)


@given(scale=st.floats(0.01, 100.0), seed=st.integers(0, 99))
def test_an_interval_is_in_the_unit_of_its_metric(scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    m, x = rng.integers(1, 9, 150).astype(float), rng.normal(size=150)
    plain = compared(totals(m, x, x**2), totals(m, x[::-1], x[::-1] ** 2), alpha=ALPHA)
    scaled = compared(totals(m, scale * x, (scale * x) ** 2), totals(m, scale * x[::-1], (scale * x[::-1]) ** 2), alpha=ALPHA)
    if plain is not None:
        assert scaled is not None
        assert (scaled.low, scaled.high) == pytest.approx((scale * plain.low, scale * plain.high), rel=1e-6, abs=1e-9)


def test_arms_of_the_wrong_sizes_are_noticed_and_right_ones_are_not_however_often_one_looks() -> None:
    assert sample_ratio_p([5_300, 4_700], [0.5, 0.5]) < 0.001
    assert sample_ratio_p([530, 470], [0.1, 0.1]) > 0.05
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(300):
        first = np.cumsum(rng.random(3_000) < 0.3)[9::10]
        seen = zip(first.tolist(), range(10, 3_001, 10), strict=True)
        wrong += any(sample_ratio_p([a, n - a], [0.3, 0.7]) < ALPHA for a, n in seen)
    assert wrong / 300 <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / 300)


# ── what is counted ──────────────────────────────────────────────────────────────────────────────────────────────────

EXPERIMENT = Experiment.model_validate(
    {"name": "fresher", "arms": [{"name": "control", "share": 0.5}, {"name": "fresh", "share": 0.5}]}
)
_offsets = itertools.count()


def page(user: str, arm: str, *actions: str, reward: float = 0.0, request: str | None = None, at: int = NOW) -> Followed:
    """Return feedback on a page of two places, the second never looked at."""
    offset = next(_offsets)
    places = [
        Outcome(
            video_id=f"v{number}", position=number, propensity=1.0, source="fresh", actions=done, watch_ms=1500 * bool(done),
            reward=reward * bool(done), parts={},
        )
        for number, done in enumerate((("impression", *actions), ()))
    ]  # fmt: skip
    made = Feedback(
        request_id=request or f"r{offset}", user_id=user, items=tuple(places), served_at=at, closed_at=at + 1, arm=arm
    )
    return Followed(FEEDBACK, user, made, at + 5, 0, offset)


def outcomes(**more: int) -> ExperimentOutcomes:
    return ExperimentOutcomes(ExperimentSettings(running=[EXPERIMENT], **more))


def arms(followed: ExperimentOutcomes) -> tuple[ArmView, ArmView]:
    (view,) = followed.views()
    return view.arms[0], view.arms[1]


def test_a_page_counts_for_its_arm_by_what_was_looked_at() -> None:
    seen = outcomes()
    seen.follow([page("ann", "fresher=fresh,other=x", "complete", "like", reward=1.5), page("bob", "fresher=control", "skip")])
    control, fresh = arms(seen)
    assert (control.viewers, control.impressions, fresh.viewers, fresh.impressions) == (1, 1, 1, 1)
    assert {each.metric: each.value for each in fresh.metrics} == {
        "reward": 1.5, "watch_s": 1.5, "completes": 1.0, "likes": 1.0, "skips": 0.0, "reports": 0.0,
    }  # fmt: skip
    assert next(each.value for each in control.metrics if each.metric == "skips") == 1.0


def test_viewers_in_no_arm_and_arms_that_are_gone_do_not_count() -> None:
    seen = outcomes()
    seen.follow([page("ann", "control"), page("bob", "fresher=old"), page("kim", "other=fresh"), page("lee", "")])
    assert [arm.viewers for arm in arms(seen)] == [0, 0]


def test_pages_from_before_an_experiment_counts_do_not_count() -> None:
    since = datetime.fromtimestamp(NOW / 1000, UTC)
    later = EXPERIMENT.model_copy(update={"since": since})
    seen = ExperimentOutcomes(ExperimentSettings(running=[later]))
    seen.follow([page("ann", "fresher=fresh", at=NOW - 1), page("bob", "fresher=fresh", at=NOW)])
    assert arms(seen)[1].viewers == 1
    assert seen.since_ms == NOW
    # Where one of them has no beginning, all must be read.
    other = EXPERIMENT.model_copy(update={"name": "other"})
    assert ExperimentOutcomes(ExperimentSettings(running=[later, other])).since_ms is None


def test_feedback_that_comes_twice_counts_once() -> None:
    seen = outcomes()
    first, again = page("ann", "fresher=fresh", request="r"), page("ann", "fresher=fresh", request="r")
    # The same page made twice by a flow that crashed, and the topic read again from its beginning.
    seen.follow([first, again])
    other = page("ann", "fresher=fresh")
    seen.follow([first, again, other])
    assert arms(seen)[1].impressions == 2


def test_a_topic_that_was_made_anew_is_read_from_its_beginning() -> None:
    seen = outcomes()
    old = page("ann", "fresher=fresh")
    seen.follow([old])
    newer = page("ann", "fresher=fresh", at=NOW + 60_000)
    seen.follow([Followed(FEEDBACK, "ann", newer.event, newer.appended_at, 0, 0)])
    assert arms(seen)[1].impressions == 2


def test_who_changes_arms_counts_in_neither() -> None:
    seen = outcomes()
    seen.follow([page("ann", "fresher=fresh"), page("ann", "fresher=control"), page("bob", "fresher=control")])
    (view,) = seen.views()
    assert [arm.viewers for arm in view.arms] == [1, 0]
    assert view.moved == 1


def test_memory_has_a_bound_and_says_when_it_is_full() -> None:
    seen = outcomes(viewers_in_memory=3)
    seen.follow([page(f"u{number}", "fresher=fresh") for number in range(5)])
    (view,) = seen.views()
    assert (view.arms[1].viewers, view.left_out) == (3, 2)
    assert seen.forget("u1", at=NOW) == 1
    seen.follow([page("late", "fresher=fresh")])
    assert arms(seen)[1].viewers == 3


def erased(user: str, at: int, offset: int) -> Followed:
    proof = Purged(cause="c", subject="user", subject_id=user, store="feedback log", count=1, purged_at=at)
    return Followed(PURGES, user, proof, at, 0, offset)


@pytest.mark.parametrize("proof_first", [False, True])
def test_an_erased_viewer_is_forgotten_also_where_the_topic_still_has_what_they_did(proof_first: bool) -> None:
    seen = outcomes()
    before, proof = page("ann", "fresher=fresh", reward=5.0), erased("ann", NOW + 10, 0)
    seen.follow([proof, before] if proof_first else [before, proof])
    seen.follow([page("bob", "fresher=fresh", reward=1.0)])
    fresh = arms(seen)[1]
    assert (fresh.viewers, fresh.metrics[0].value) == (1, 1.0)
    # Whoever comes back under the same name is counted anew.
    seen.follow([page("ann", "fresher=fresh", reward=2.0, at=NOW + 1_000)])
    assert (arms(seen)[1].viewers, arms(seen)[1].metrics[0].value) == (2, 1.5)


@given(steps=st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["page", "forget"])), max_size=60))
def test_a_tally_is_what_those_did_who_were_not_forgotten(steps: list[tuple[int, str]]) -> None:
    tally, left = Tally(EXPERIMENT, 100), dict[int, int]()
    for user, step in steps:
        if step == "page":
            tally.take(f"u{user}", "fresh", page(f"u{user}", "").event.items)
            left[user] = left.get(user, 0) + 1
        else:
            assert tally.forget(f"u{user}") == (left.pop(user, None) is not None)
    assert len(tally) == len(left)
    assert tally.totals(1)[0].m == sum(left.values())


# ── what is said ─────────────────────────────────────────────────────────────────────────────────────────────────────


def run(viewers: int = 600, *, liked: float = 0.0, skipped: float = 0.0, uneven: int = 0) -> ExperimentView:
    """Return what is said after viewers of both arms saw ten pages; those of `fresh` like and skip that much more often."""
    rng = np.random.default_rng(5)
    tally = Tally(EXPERIMENT, 10_000)
    for number in range(viewers + uneven):
        fresh = number % 2 == 1 or number >= viewers
        places = []
        for _ in range(10):
            likes, skips = rng.random() < 0.2 + liked * fresh, rng.random() < 0.3 + skipped * fresh
            done = ("impression", *["like"] * likes, *["skip"] * skips)
            places.append(
                Outcome(
                    video_id="v", position=0, propensity=1.0, source="fresh", actions=done, watch_ms=0,
                    reward=1.0 * likes, parts={},
                )
            )  # fmt: skip
        tally.take(f"u{number}", "fresh" if fresh else "control", places)
    return analysed(tally, ALPHA)


@pytest.mark.parametrize(
    ("seen", "tone", "said"),
    [
        ({"viewers": 120}, "off", "Too few viewers yet: 60 of the 100 that each arm needs."),
        ({}, "off", "No difference seen yet: reward "),
        ({"liked": 0.15}, "good", "fresh is better: reward +"),
        ({"liked": -0.15}, "warn", "fresh is worse: reward -"),
        (
            {"liked": 0.15, "skipped": 0.2},
            "bad",
            "Guardrail broken: stop fresh. Skips are worse than control's by more than 5%.",
        ),
        ({"liked": 0.15, "uneven": 300}, "bad", "The arms' sizes do not fit their shares"),
    ],
)
def test_the_verdict_is_in_words(seen: dict[str, Any], tone: str, said: str) -> None:
    view = run(**seen)
    arm = view.arms[1]
    assert arm.verdict.startswith(said)
    assert arm.tone == tone
    assert view.arms[0].verdict == ""
    assert [each.metric for each in arm.metrics] == list(METRICS)
    assert view.mismatch == ("sizes" in said)


def test_a_guardrail_that_is_kept_is_said_to_be() -> None:
    guardrails = {each.metric: each.guardrail for each in run(viewers=4_000, skipped=-0.1).arms[1].metrics}
    # Nobody reported anything: of that nothing is known.
    assert guardrails == {"reward": "", "watch_s": "", "completes": "", "likes": "", "skips": "kept", "reports": "open"}
