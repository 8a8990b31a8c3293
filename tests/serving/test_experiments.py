"""Viewers in arms: the same always, as many as each arm's share says, and each with the pages of its arm."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.experiments.assignment import Assignment, labelled
from serving.experiments.settings import Experiment, ExperimentSettings, feed_of
from serving.settings import FeedSettings
from streams.topics import SLATES

VIEWERS = [f"viewer-{number}" for number in range(100_000)]
SOME = VIEWERS[:4_000]


def experiment(*shares: float, name: str = "fresher", **changes: object) -> Experiment:
    """Return an experiment whose last arm changes something."""
    arms: list[dict[str, Any]] = [{"name": f"arm-{number}", "share": share} for number, share in enumerate(shares)]
    arms[-1]["changes"] = changes or {"weights.freshness": 0.9}
    return Experiment.model_validate({"name": name, "arms": arms})


def arms_of(running: Experiment, viewers: list[str]) -> list[int | None]:
    assignment = Assignment([running])
    return [assignment.arms_of(user)[0] for user in viewers]


@pytest.mark.parametrize(
    "shares", [(0.5, 0.5), (0.05, 0.05), (0.7, 0.2), (0.6, 0.1, 0.3), (0.25, 0.25, 0.25), (0.9, 0.05, 0.03)]
)
def test_as_many_viewers_are_in_an_arm_as_its_share_says(shares: tuple[float, ...]) -> None:
    found = arms_of(experiment(*shares), VIEWERS)
    counts = np.array([sum(arm == number for arm in found) for number in (*range(len(shares)), None)])
    expected = np.array([*shares, 1 - sum(shares)]) * len(VIEWERS)
    there = expected > 1e-6
    assert counts[~there].sum() == 0
    # The chi-square's bound of one in a thousand at three degrees of freedom; with fewer arms it is the wider.
    assert ((counts - expected)[there] ** 2 / expected[there]).sum() < 16.3


def test_a_viewer_is_in_the_same_arm_on_every_node_and_for_good() -> None:
    # What these were they must stay, in every process and version, or experiments that run would be mixed up.
    assert arms_of(experiment(0.5, 0.5), ["ann", "bob", "kim", "lee", "max", "zoe"]) == [0, 1, 1, 1, 0, 0]


def test_experiments_draw_viewers_apart() -> None:
    one, other = (np.array(arms_of(experiment(0.5, 0.5, name=name), VIEWERS)) for name in ("one", "other"))
    # Four standard errors of a quarter of 100,000.
    assert abs((one * other).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / len(VIEWERS))


def test_another_experiment_moves_nobody() -> None:
    mine = experiment(0.3, 0.3)
    alone = Assignment([mine])
    beside = Assignment([experiment(0.2, 0.7, name="other", mmr_lambda=0.5), mine])
    assert [alone.arms_of(user)[0] for user in SOME] == [beside.arms_of(user)[1] for user in SOME]


@settings(max_examples=40, deadline=None)
@given(first=st.floats(0.01, 0.6), second=st.floats(0.01, 0.39), more=st.floats(0.0, 0.3), which=st.integers(0, 1))
def test_of_two_arms_one_that_grows_only_gains_viewers(first: float, second: float, more: float, which: int) -> None:
    shares = [first, second]
    before = arms_of(experiment(*shares), SOME)
    grown = shares.copy()
    grown[which] += more
    # Where there is no room left, the other gives way.
    grown[1 - which] = min(grown[1 - which], 1.0 - grown[which])
    after = arms_of(experiment(*grown), SOME)
    assert all(new in (old, which) or (old == 1 - which and new is None) for old, new in zip(before, after, strict=True))
    if sum(grown) == sum(shares) + more:
        assert all(new == old or (old is None and new == which) for old, new in zip(before, after, strict=True))


@settings(max_examples=40, deadline=None)
@given(shares=st.lists(st.floats(0.01, 0.25), min_size=4, max_size=4), which=st.integers(0, 3), more=st.floats(0.0, 0.25))
def test_of_several_arms_one_that_grows_up_to_its_even_part_takes_nobody_from_another(
    shares: list[float], which: int, more: float
) -> None:
    grown = [min(0.25, share + more) if arm == which else share for arm, share in enumerate(shares)]
    before, after = arms_of(experiment(*shares), SOME), arms_of(experiment(*grown), SOME)
    assert all(new == old or (old is None and new == which) for old, new in zip(before, after, strict=True))


def test_a_label_tells_of_every_experiment_that_a_viewer_is_in() -> None:
    running = [experiment(0.5, 0.5), experiment(0.5, 0.5, name="other", mmr_lambda=0.5)]
    assignment = Assignment(running)
    assert assignment.label((1, None)) == "fresher=arm-1"
    assert labelled(assignment.label((1, 0))) == {"fresher": "arm-1", "other": "arm-0"}
    assert (assignment.label((None, None)), labelled("control")) == ("control", {})


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_arms_feed_is_the_feed_with_its_changes() -> None:
    # As TOML has them, in tables or by dotted names.
    arm = experiment(0.5, 0.5, weights={"freshness": 0.9}, **{"cold_start.positions": [2], "mmr_lambda": 0.5}).arms[1]
    feed = FeedSettings(max_limit=33)
    changed = feed_of(feed, [arm])
    assert (changed.weights.freshness, changed.cold_start.positions, changed.mmr_lambda) == (0.9, (2,), 0.5)
    assert (changed.max_limit, changed.weights.interest) == (33, feed.weights.interest)
    assert feed.weights.freshness == FeedSettings().weights.freshness
    assert feed_of(feed, []) == feed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"weights.freshnes": 1.0},
            "feed.weights.freshnes is no option that may differ by arm; did you mean weights.freshness",
        ),
        ({"shelf_size": 10}, "feed.shelf_size is no option that may differ by arm"),
        ({"cold_start.impressions": 10}, "feed.cold_start.impressions is no option"),
        ({"mmr_lambda": 2.0}, "mmr_lambda"),
        ({"off": ["slate-event"]}, "slate-event: nobody would know"),
    ],
)
def test_a_change_that_can_not_be_is_refused_by_its_name(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        experiment(0.5, 0.5, **changes)


def test_arms_and_experiments_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"the shares of its arms add up to 1\.2"):
        experiment(0.6, 0.6)
    with pytest.raises(ValidationError, match=r"feed\.weights\.freshness is changed by fresher and by other"):
        ExperimentSettings(running=[experiment(0.5, 0.5), experiment(0.5, 0.5, name="other")])
    with pytest.raises(ValidationError, match="two experiments have one name"):
        ExperimentSettings(running=[experiment(0.5, 0.5), experiment(0.5, 0.5, mmr_lambda=0.5)])


# ── pages ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stage_that_an_arm_can_not_leave_out_is_found_at_the_start(build) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"experiment fresher, arm arm-1: feed\.off names \['populr'\]"):
        build(experiments=ExperimentSettings(running=[experiment(0.5, 0.5, off=["populr"])]))


@pytest.mark.anyio
async def test_each_viewer_gets_the_pages_of_its_arm_and_its_slates_say_so(build) -> None:  # type: ignore[no-untyped-def]
    running = experiment(0.4, 0.4, **{"weights.freshness": 50.0})
    world = build(experiments=ExperimentSettings(running=[running]))
    world.put(*(world.perception(f"v{n}", author=f"a{n}", age_h=0.5 + n) for n in range(40)))
    arms = arms_of(running, VIEWERS[:30])
    for user, arm in zip(VIEWERS[:30], arms, strict=True):
        page = await world.page(user)
        label = "control" if arm is None else f"fresher=arm-{arm}"
        assert world.published.of(SLATES)[-1].arm == label
        fresh = [item.parts["freshness"] for item in page.items]
        assert (max(fresh) > 10) == (arm == 1)
    assert {0, 1, None} == set(arms)


@pytest.mark.anyio
async def test_without_experiments_every_slate_is_controls(world) -> None:  # type: ignore[no-untyped-def]
    await world.page()
    assert world.published.of(SLATES)[-1].arm == "control"
    assert world.node.feed.pipeline_of("u") is world.node.feed.pipeline
