"""Exposure, its Gini, the knobs that steer it, and propensities where a place is kept by chance."""

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.feed.diversity import arrange
from serving.feed.exploration import Contest, Lottery
from serving.feed.fairness.control import Knob, Tuning, turn
from serving.feed.fairness.exposure import Exposure
from serving.feed.fairness.gini import gini
from serving.feed.kept_places import chances, in_order
from serving.settings import ColdStartSettings, FairnessSettings, FeedSettings
from streams.events import VideoStats

CALM = {"features_timeout_s": 5.0}
NOW = 1_800_000_000_000
amounts = st.lists(st.floats(0.0, 1e6), min_size=1, max_size=40).map(np.array)
TUNING = Tuning(start=2.0, low=0.0, high=5.0, gain=10.0, reset_s=100.0)


# ── Gini ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(amount=st.floats(0.001, 1e6), count=st.integers(1, 200))
def test_gini_is_0_where_all_have_the_same(amount, count):
    assert gini(np.full(count, amount)) == pytest.approx(0.0, abs=1e-9)


@given(shares=amounts.filter(lambda found: found.sum() > 1e-3), factor=st.floats(0.01, 1e3), seed=st.integers(0, 9))
def test_gini_knows_neither_the_unit_nor_the_order_and_lies_within_0_and_1(shares, factor, seed):
    unevenness = gini(shares)
    assert 0.0 <= unevenness <= 1.0 - 1.0 / len(shares) + 1e-9
    assert gini(np.random.default_rng(seed).permutation(shares) * factor) == pytest.approx(unevenness, abs=1e-6)


@given(shares=amounts.filter(lambda found: found.max() - found.min() > 1.0), part=st.floats(0.01, 0.5))
def test_gini_falls_where_the_richest_gives_to_the_poorest(shares, part):
    richest, poorest = int(shares.argmax()), int(shares.argmin())
    gift = part * (shares[richest] - shares[poorest])
    after = shares.copy()
    after[richest] -= gift
    after[poorest] += gift
    assert gini(after) < gini(shares)


# ── exposure ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def page(exposure, *authors, new=()):
    exposure.add(np.array(authors, np.int32), np.isin(np.arange(len(authors)), new))


def test_exposure_halves_each_half_life():
    exposure, here = Exposure(60.0, 1.0), np.ones(3, np.bool_)
    page(exposure, 0, 0, 2, new=[2])
    served = exposure.at(NOW, here)
    assert (served.by_author.tolist(), served.places, served.new_share) == ([2.0, 0.0, 1.0], 3.0, pytest.approx(1 / 3))
    page(exposure, 1)
    served = exposure.at(NOW + 60_000, here)
    assert served.by_author.tolist() == [1.0, 0.5, 0.5]
    # Decay changes how much it is, not how it is spread.
    later = exposure.at(NOW + 600_000, here)
    assert later.author_gini == pytest.approx(served.author_gini)


def test_attention_falls_with_the_place():
    exposure = Exposure(60.0, 0.5)
    page(exposure, 0, 1, 2, new=[0])
    served = exposure.at(NOW, np.ones(3, np.bool_))
    assert served.by_author.tolist() == [1.0, 0.5, 0.25]
    assert served.new_share == pytest.approx(1.0 / 1.75)


def test_a_clock_that_goes_back_brings_no_exposure_back():
    exposure, here = Exposure(60.0, 1.0), np.ones(1, np.bool_)
    page(exposure, 0)
    exposure.at(NOW, here)
    assert exposure.at(NOW - 3_600_000, here).places == 1.0


def test_before_the_first_page_nothing_is_measured():
    served = Exposure(60.0, 1.0).at(NOW, np.ones(4, np.bool_))
    assert (served.new_share, served.author_gini) == (None, None)


# ── the controller ───────────────────────────────────────────────────────────────────────────────────────────────────


class Plant:
    """What is measured follows the knob with a lag, as a decayed sum does, and is never below what comes by itself."""

    def __init__(self, by_itself, by_knob, lag_s):
        self.by_itself, self.by_knob, self.lag_s = by_itself, by_knob, lag_s
        self.measured = by_itself

    def run(self, knob, seconds, tuning=TUNING, *, target, every_s=2.0):
        for _ in range(int(seconds / every_s)):
            knob = turn(knob, tuning, error=target - self.measured, elapsed_s=every_s)
            settled = self.by_itself + self.by_knob * knob.value
            self.measured += (settled - self.measured) * (1.0 - math.exp(-every_s / self.lag_s))
        return knob


@settings(max_examples=40, deadline=None)
@given(target=st.floats(0.12, 0.48), by_knob=st.floats(0.1, 0.4))
def test_the_measured_share_comes_to_the_target(target, by_knob):
    plant = Plant(0.05, by_knob, 100.0)
    knob = plant.run(Knob(2.0), 2_000.0, target=target)
    reachable = min(plant.by_itself + by_knob * TUNING.high, target)
    assert plant.measured == pytest.approx(reachable, abs=0.005)
    assert TUNING.low <= knob.value <= TUNING.high


@given(errors=st.lists(st.floats(-1.0, 1.0), max_size=60), elapsed_s=st.floats(0.0, 1e6))
def test_a_knob_stays_within_its_range_whatever_comes(errors, elapsed_s):
    knob = Knob(2.0)
    for error in errors:
        knob = turn(knob, TUNING, error=error, elapsed_s=elapsed_s)
        assert TUNING.low <= knob.value <= TUNING.high


def test_a_target_out_of_reach_is_not_remembered():
    plant = Plant(0.05, 0.05, 100.0)
    knob = plant.run(Knob(2.0), 100_000.0, target=0.45)
    assert knob.value == TUNING.high
    # The next target is reached as soon as if there had been no hours of a target out of reach.
    short = plant.run(knob, 500.0, target=0.15)
    assert plant.measured == pytest.approx(0.15, abs=0.01)
    assert short.value == pytest.approx(2.0, abs=0.2)


def test_without_error_a_knob_stays_where_it_is():
    assert turn(Knob(2.0), TUNING, error=0.0, elapsed_s=100.0) == Knob(2.0)
    assert turn(Knob(3.0, 1.0), TUNING, error=0.0, elapsed_s=100.0) == Knob(3.0, 1.0)


# ── kept places ──────────────────────────────────────────────────────────────────────────────────────────────────────


@given(positions=st.lists(st.integers(0, 15), max_size=4).map(tuple), places=st.floats(0.0, 10.0))
def test_chances_of_kept_places_sum_to_their_number(positions, places):
    of_ten = chances(in_order(positions), places)
    assert sum(of_ten.values()) == pytest.approx(places)
    assert sum(chance < 1.0 for chance in of_ten.values()) <= 1
    assert all(0.0 < chance <= 1.0 and 0 <= place < 10 for place, chance in of_ten.items())


def test_places_beyond_the_configured_ones_lie_apart():
    assert in_order((1, 5))[:5] == (1, 5, 9, 3, 7)
    assert chances(in_order((1, 5)), 2.0) == {1: 1.0, 5: 1.0}


# ── propensities ─────────────────────────────────────────────────────────────────────────────────────────────────────

# Two new videos that compete, the second of which value would put first, too; then older ones.
VALUE = np.array([0.1, 1.0, 0.2, 0.9, 0.8, 0.7], np.float32)
NEW = 3
SETTINGS = FeedSettings(mmr_lambda=1.0)


def first_place(seed, chance, draws=512):
    """Return who gets place 0, which is kept by chance, and the propensity that is logged."""
    rng = np.random.default_rng(seed)
    contest = Contest(
        rng,
        successes=np.array([1.0, 3.0, 2.0], np.float32),
        failures=np.array([8.0, 8.0, 4.0], np.float32),
        merit=np.ones(NEW, np.float32),
        authors=np.arange(NEW, dtype=np.int32),
        places=1,
        draws=draws,
        prior=(1.0, 4.0),
    )
    lottery = Lottery(contest, chance, kept=bool(rng.random() < chance))
    order = arrange(
        VALUE, np.eye(6, dtype=np.float32), np.arange(6, dtype=np.int32), limit=3, reserved={}, settings=SETTINGS,
        drawn={0: lottery.draw},
    )  # fmt: skip
    assert lottery.pick is not None
    assert lottery.pick.index == order[0]
    return order[0], lottery.pick.propensity


@pytest.mark.parametrize("chance", [0.2, 0.7])
def test_logged_propensities_are_how_often_a_place_kept_by_chance_falls_to_each(chance):
    runs = 1_200
    found = [first_place(run, chance) for run in range(runs)]
    shown = Counter(index for index, _ in found)
    # Value alone would show video 1 always, the contest each of the three new ones: no other may come.
    assert set(shown) == {0, 1, 2}
    for index, count in shown.items():
        share = count / runs
        said = np.array([propensity for each, propensity in found if each == index])
        # Five standard errors, and the draw that is counted in, 1/512.
        slack = 5 * math.sqrt(share * (1 - share) / runs)
        assert said.mean() == pytest.approx(share, abs=slack + 1 / 512)
        # What makes inverse propensities honest: weighed by them, each video was shown once a run.
        assert (1.0 / said).sum() / runs == pytest.approx(1.0, abs=5 * math.sqrt((1 - share) / share / runs) + 0.05)


def test_a_place_kept_by_chance_with_nobody_to_compete_is_filled_by_value_for_certain():
    nobody = Contest(
        np.random.default_rng(0), successes=np.zeros(0), failures=np.zeros(0), merit=np.zeros(0),
        authors=np.zeros(0, np.int32), places=1, draws=64, prior=(1.0, 4.0),
    )  # fmt: skip
    lottery = Lottery(nobody, 0.5, kept=True)
    order = arrange(
        VALUE, np.eye(6, dtype=np.float32), np.arange(6, dtype=np.int32), limit=3, reserved={}, settings=SETTINGS,
        drawn={0: lottery.draw},
    )  # fmt: skip
    assert order == [1, 3, 4]
    assert lottery.pick is not None
    assert lottery.pick.propensity == 1.0
    assert lottery.won is None


def steered(build, **fairness):
    return build(FeedSettings(fairness=FairnessSettings(**fairness), **CALM))


def fill(world, *, authors=20, videos=60, **each):
    world.put(*(world.perception(f"v{n}", author=f"a{n % authors}", age_h=1.0 + n / 10, **each) for n in range(videos)))


@pytest.mark.anyio
async def test_a_page_with_a_fraction_of_places_keeps_as_many_on_average(build):
    world = build(FeedSettings(cold_start=ColdStartSettings(impressions=1_000_000), **CALM))
    fill(world)
    fairness = world.node.feed.fairness
    fairness.now = dataclasses.replace(fairness.now, places=2.5, more_places=0.5)
    pages = [await world.page(f"u{n}", seed=n) for n in range(200)]
    kept = [sum(item.new for item in page.items) for page in pages]
    assert set(kept) == {2, 3}
    assert np.mean(kept) == pytest.approx(2.5, abs=5 * 0.5 / math.sqrt(200))
    for page in pages:
        assert len({item.card.video.video_id for item in page.items}) == 10
        assert all(item.propensity == 1.0 for item in page.items if item.position not in (1, 5, 9))
        assert all(item.propensity < 1.0 for item in page.items if item.position == 9)


# ── the feed ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def serve(world, pages, *, every_s=2):
    for number in range(pages):
        await world.page(f"u{world.now}-{number}", seed=number)
        world.now += every_s * 1000
        world.node.feed.fairness.renew(now_ms=world.now)


@pytest.mark.anyio
async def test_without_targets_exposure_is_measured_and_nothing_is_steered(build):
    world = steered(build)
    fill(world)
    await serve(world, 20)
    now = world.node.feed.fairness.now
    assert now.served.places == pytest.approx(200.0, rel=0.05)
    # All are an hour or some old, and none has spent its budget.
    assert now.served.new_share == pytest.approx(1.0)
    assert 0.0 < now.served.author_gini < 1.0
    assert (now.places, now.author_weight) == (2.0, 0.0)
    assert all(item.parts["author-exposure"] == 0.0 for item in (await world.page("last")).items)


@pytest.mark.anyio
async def test_the_gini_comes_down_to_its_target(build):
    ginis = {}
    for target in (1.0, 0.15):
        world = steered(build, author_gini=target, half_life_s=40.0)
        fill(world)
        # One author's videos are everybody's favourites.
        for n in range(0, 60, 20):
            world.put_stats(f"v{n}", impressions=500.0, likes=400.0, completions=450.0, total_impressions=500)
        await serve(world, 120)
        ginis[target] = world.node.feed.fairness.now.served.author_gini
    assert ginis[1.0] > 0.2
    assert ginis[0.15] == pytest.approx(0.15, abs=0.03)


@pytest.mark.anyio
async def test_the_share_of_new_videos_comes_to_its_target(build):
    shares = {}
    for target in (0.0, 0.4):
        cold = ColdStartSettings(impressions=1_000_000, positions=(1,))
        world = build(FeedSettings(cold_start=cold, fairness=FairnessSettings(new_share=target, half_life_s=40.0), **CALM))
        fill(world)
        world.put(*(world.perception(f"old{n}", author=f"b{n}", age_h=60.0 + n) for n in range(60)))
        # Old ones are loved and new ones are not: value alone would show none of these.
        for n in range(60):
            loved = {"likes": 90.0, "completions": 90.0}
            for video_id, counts in ((f"old{n}", loved), (f"v{n}", {"skips": 90.0})):
                stats = VideoStats(video_id=video_id, as_of=NOW, impressions=100.0, total_impressions=100, **counts)
                world.catalogue.set_stats(stats)
        world.sweep()
        await serve(world, 120)
        shares[target] = world.node.feed.fairness.now.served.new_share
    assert shares[0.0] == pytest.approx(0.1, abs=0.05)
    assert shares[0.4] == pytest.approx(0.4, abs=0.03)


@pytest.mark.anyio
async def test_who_was_shown_less_is_worth_more_and_says_so(build):
    world = steered(build, author_gini=0.01, half_life_s=60.0)
    fill(world)
    await serve(world, 60)
    world.put(world.perception("debut", author="newcomer", age_h=1.0))
    now = world.node.feed.fairness.now
    assert now.author_weight > 0.0
    items = (await world.page("last", limit=50)).items
    parts = {item.card.video.author_id: item.parts["author-exposure"] for item in items}
    # Not counted yet, it was never shown.
    assert parts["newcomer"] == pytest.approx(now.author_weight, rel=1e-5)
    assert all(part < now.author_weight for author, part in parts.items() if author != "newcomer")


@pytest.mark.anyio
async def test_an_author_of_whom_nothing_is_left_leaves_no_exposure(build):
    world = steered(build)
    fill(world, authors=3, videos=12)
    await serve(world, 10)
    before = world.node.feed.fairness.now.served
    assert (before.by_author[before.present] > 0).all()
    assert before.present.sum() == 3
    gone = [n for n in range(12) if n % 3 == 0]
    for n in gone[:-1]:
        world.node.forget_video(f"v{n}")
    world.sweep()
    # While a video is left, the author was shown as much as before.
    assert (world.node.feed.fairness.now.served.by_author > 0).sum() == 3
    world.node.forget_video(f"v{gone[-1]}")
    world.sweep()
    after = world.node.feed.fairness.now.served
    assert (after.by_author > 0).sum() == after.present.sum() == 2
    world.put(world.perception("again", author="a0"))
    assert (world.node.feed.fairness.now.served.by_author > 0).sum() == 2


@pytest.mark.anyio
async def test_a_node_that_served_little_holds_its_knobs(build):
    world = steered(build, new_share=0.4, author_gini=0.01)
    fill(world)
    await serve(world, 5)
    now = world.node.feed.fairness.now
    assert now.served.author_gini > 0.01
    assert (now.places, now.author_weight) == (2.0, 0.0)


@pytest.mark.anyio
async def test_operators_see_measure_target_and_knobs(build):
    world = steered(build, author_gini=0.2)
    fill(world)
    await serve(world, 20)
    sample = world.node.ops.tick({})
    fairness = sample.view.fairness
    assert (fairness.new_share_target, fairness.author_gini_target, fairness.places) == (None, 0.2, 2.0)
    assert sample.values["served_gini"] == fairness.author_gini == world.node.feed.fairness.now.served.author_gini
    metrics = world.node.metrics.text().decode()
    assert "headwater_served_author_gini_target 0.2" in metrics
    assert f"headwater_author_weight {fairness.author_weight}" in metrics
    # What has no target has no sample of one: 0 would be a wish.
    assert "\nheadwater_served_new_share_target" not in metrics


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"new_share": 0.7}, r"new_share is 0\.7, and max_places 5 keeps at most 0\.5 of a page.*raise max_places"),
        ({"new_share": 1.0}, "less than 1"),
        ({"author_gini": 0.0}, "greater than 0"),
        ({"author_gini": 1.1}, "less than or equal to 1"),
        ({"half_life_s": 0}, "greater than 0"),
        ({"persistence": 0}, "greater than 0"),
        ({"max_places": 11}, "less than or equal to 10"),
    ],
)
def test_a_target_that_cannot_be_is_refused_with_what_can(wrong, said):
    with pytest.raises(ValidationError, match=said):
        FairnessSettings(**wrong)
