"""Estimates of what other policies would have earned, on bandits whose truth is known."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ranking.evaluation import off_policy_page
from models.ranking.evaluation.logged_choices import Floats, LoggedChoices
from models.ranking.evaluation.off_policy import ESS_FLOOR, Weighed, estimate, evaluate, weigh
from models.ranking.evaluation.policies import TARGETS, as_logged, greedy, uniform
from models.ranking.evaluation.reward_model import expected_rewards, explained

VIDEOS = 30
# What each video earns in the mean: the log shows the better ones more often, as Thompson sampling does.
WORTH = np.linspace(0.0, 1.0, VIDEOS)


def bandit(seed: int, *, viewers: int = 120, each: int = 5, contestants: int = 6, keen: float = 2.0) -> LoggedChoices:
    """Return choices by a policy that prefers what is worth more, `keen`ly; a viewer's rewards are alike."""
    rng = np.random.default_rng(seed)
    count = viewers * each
    viewer_of = np.repeat(np.arange(viewers), each)
    fields = np.array([rng.choice(VIDEOS, contestants, replace=False) for _ in range(count)])
    liking = np.exp(keen * WORTH[fields])
    chances = liking / liking.sum(axis=1, keepdims=True)
    won = (chances.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    # The one that was shown comes first.
    for row, place in enumerate(won):
        fields[row, [0, place]], chances[row, [0, place]] = fields[row, [place, 0]], chances[row, [place, 0]]
    mood = rng.normal(0.0, 0.3, viewers)[viewer_of]
    return LoggedChoices(
        viewers=viewer_of,
        positions=rng.choice([1, 5], count),
        rewards=WORTH[fields[:, 0]] + mood + rng.normal(0.0, 0.3, count),
        starts=np.arange(count + 1) * contestants,
        videos=fields.ravel(),
        propensities=chances.ravel(),
    )


def truth(choices: LoggedChoices, probabilities: Floats) -> float:
    """Return what a policy earns in the mean on these choices' contestants."""
    return float((probabilities * WORTH[choices.videos]).sum() / len(choices))


def test_estimates_are_right_in_the_mean_and_within_their_intervals() -> None:
    errors, within, robust_errors, robust_within = [], [], [], []
    for seed in range(80):
        choices = bandit(seed)
        expected = expected_rewards(choices, seed=seed)
        found, right = (
            estimate(weigh(choices, uniform, expected), seed=seed, draws=300),
            truth(choices, uniform(choices, expected)),
        )
        for value, off, inside in ((found.ips, errors, within), (found.dr, robust_errors, robust_within)):
            assert value.mean is not None
            assert value.low is not None
            assert value.high is not None
            off.append(value.mean - right)
            inside.append(value.low <= right <= value.high)
    for off, inside in ((errors, within), (robust_errors, robust_within)):
        assert abs(np.mean(off)) < 4 * np.std(off) / np.sqrt(len(off))
        # 95 % of 80 are 76; fewer than 69 come by chance once in a thousand times.
        assert sum(inside) >= 69


def test_a_good_reward_model_leaves_less_to_chance_than_weights_alone() -> None:
    weights, robust = [], []
    for seed in range(60):
        drawn = bandit(seed, keen=4.0)
        # Rewards far from 0: all that weights multiply is then chance that a model can take away.
        choices, known = dataclasses.replace(drawn, rewards=drawn.rewards + 2.0), WORTH[drawn.videos] + 2.0
        right = truth(choices, uniform(choices, known)) + 2.0
        found = estimate(weigh(choices, uniform, known), draws=2)
        assert found.ips.mean is not None
        assert found.dr.mean is not None
        weights.append(found.ips.mean - right)
        robust.append(found.dr.mean - right)
    assert np.std(robust) < 0.6 * np.std(weights)


@given(seed=st.integers(0, 50), viewers=st.integers(2, 20), each=st.integers(1, 4))
def test_what_was_done_is_worth_what_was_earned(seed: int, viewers: int, each: int) -> None:
    choices = bandit(seed, viewers=viewers, each=each)
    found = estimate(weigh(choices, as_logged, np.zeros(len(choices.videos))), draws=20)
    assert found.ips.mean == found.dr.mean == choices.rewards.mean()
    assert found.snips.mean == pytest.approx(choices.rewards.mean(), abs=1e-12)
    assert found.ess == pytest.approx(len(choices))
    assert found.mean_weight == found.max_weight == 1.0


@given(seed=st.integers(0, 50), factor=st.floats(0.01, 100.0))
def test_rewards_in_another_unit_give_estimates_in_it(seed: int, factor: float) -> None:
    choices = bandit(seed, viewers=20)
    other = dataclasses.replace(choices, rewards=choices.rewards * factor)
    ours, theirs = (estimate(weigh(each, uniform, expected_rewards(each, seed=1)), draws=20) for each in (choices, other))
    for name in ("ips", "snips", "dr"):
        assert getattr(theirs, name).mean == pytest.approx(factor * getattr(ours, name).mean, rel=1e-4, abs=1e-4 * factor)
        assert getattr(theirs, name).low == pytest.approx(factor * getattr(ours, name).low, rel=1e-4, abs=1e-4 * factor)
    assert theirs.ess == ours.ess


weighed = st.lists(st.tuples(st.floats(0, 1e3), st.floats(-10, 10)), min_size=1, max_size=40).map(
    lambda rows: Weighed(np.arange(len(rows)), *np.array(rows).T, np.zeros(len(rows)), np.zeros(len(rows)))
)


@given(choices=weighed)
def test_divided_by_its_weights_an_estimate_is_among_the_rewards(choices: Weighed) -> None:
    found = estimate(choices, draws=5)
    if choices.weights.sum() == 0:
        assert (found.snips.mean, found.ess) == (None, 0.0)
    else:
        assert found.snips.mean is not None
        assert choices.rewards.min() - 1e-9 <= found.snips.mean <= choices.rewards.max() + 1e-9
        assert 1 - 1e-9 <= found.ess <= len(choices.weights) + 1e-9


@given(choices=weighed, clip=st.floats(1, 50))
def test_clipping_says_what_it_takes_away(choices: Weighed, clip: float) -> None:
    free, cut = estimate(choices, draws=2), estimate(choices, clip=clip, draws=2)
    assert cut.max_weight <= clip
    assert cut.clipped == pytest.approx((choices.weights > clip).mean())
    assert free.ips.mean is not None
    assert cut.ips.mean == pytest.approx(free.ips.mean + cut.clip_bias, abs=1e-6)


@settings(max_examples=30)
@given(seed=st.integers(0, 99), contestants=st.integers(1, 9))
def test_every_policys_probabilities_add_up_to_one(seed: int, contestants: int) -> None:
    choices = bandit(seed, viewers=9, contestants=contestants)
    expected = np.random.default_rng(seed).normal(size=len(choices.videos)).round(1)
    for policy in TARGETS.values():
        probabilities = policy(choices, expected)
        assert (probabilities >= 0).all()
        assert np.add.reduceat(probabilities, choices.shown) == pytest.approx(1.0)
    assert greedy(choices, np.zeros(len(choices.videos))) == pytest.approx(1 / contestants)


def test_a_policy_that_differs_too_much_from_the_log_is_doubted() -> None:
    choices = bandit(0, viewers=60, each=3, contestants=20, keen=0.0)
    found = evaluate(choices, WORTH[choices.videos])
    assert found["best by expected reward"].ess < ESS_FLOOR
    assert "fewer than 100" in found["best by expected reward"].doubt
    assert found["as logged"].doubt == ""


def test_an_estimate_from_a_few_viewers_is_doubted() -> None:
    choices = bandit(0, viewers=8, each=40)
    assert "8 viewers" in estimate(weigh(choices, as_logged, np.zeros(len(choices.videos)))).doubt


def test_propensities_that_are_not_those_of_the_log_are_noticed() -> None:
    choices = bandit(0, viewers=400, keen=3.0)
    nothing = np.zeros(len(choices.videos))
    assert estimate(weigh(choices, uniform, nothing)).doubt == ""
    even = dataclasses.replace(choices, propensities=np.full(len(choices.videos), 1 / 6))
    assert "in the mean, not 1" in estimate(weigh(even, lambda _of, _expected: choices.propensities, nothing)).doubt


def test_no_viewers_own_rewards_are_in_what_is_expected_of_their_choices() -> None:
    choices = bandit(3, viewers=40)
    mine = choices.viewers == 7
    changed = dataclasses.replace(choices, rewards=np.where(mine, 100.0, choices.rewards))
    before, after = (expected_rewards(each, seed=0)[each.shown] for each in (choices, changed))
    assert (before[mine] == after[mine]).all()
    assert (before != after).any()


def test_what_is_expected_is_near_what_videos_are_worth() -> None:
    choices = bandit(0, viewers=1_500)
    expected = expected_rewards(choices, seed=0)
    assert np.corrcoef(expected, WORTH[choices.videos])[0, 1] > 0.98
    assert 0.1 < explained(choices, expected) < 1.0


def test_estimates_are_shown_on_a_page(tmp_path: Path) -> None:
    choices = bandit(0, viewers=20)
    found = evaluate(choices, WORTH[choices.videos])
    page = tmp_path / "out" / "page.html"
    off_policy_page.write(found, page, logged=0.5, choices=len(choices), facts={"data": "<b>mine</b>"})
    written = page.read_text()
    assert written.count('class="interval"') == written.count('class="dot"') == 3 * len(found)
    assert written.count("Not to be trusted") == len(found)
    assert "&lt;b&gt;mine" in written
