"""The ranker in the feed: what it sees, what a page is worth by it, and that it may be exchanged at any time."""

import asyncio
import itertools
from pathlib import Path

import numpy as np
import pytest

from models.ranking.features import AT, FEATURES, NAMES, VERSION, unpack
from models.ranking.objectives import OBJECTIVES
from models.ranking.ranker import Ranker
from serving.feed.scorers.interest import similarity
from serving.settings import FeedSettings
from streams.events import Plan, PlanItem, VideoStats
from streams.features import UserActivity, ViewerFeatures
from streams.follower import Followed
from streams.topics import PLANS, SLATES

pytestmark = pytest.mark.anyio
BY_HAND = {"interest", "wanted-next", "engagement", "freshness", "followed-author", "live-room"}
ALWAYS = {"plan-rank", "steering", "author-exposure", "again"}
BY_RANKER = {f"ranker-{name}" for name in OBJECTIVES}


class Expecting:
    """A ranker with one opinion of everything: each objective's probability, or a column of the features."""

    def __init__(self, of: str = "", **expected: float) -> None:
        self.of, self.expected = of, expected
        self.pages = 0

    def predict(self, features):
        self.pages += 1
        rows = np.tile(np.array([self.expected.get(name, 0.0) for name in OBJECTIVES], np.float32), (len(features), 1))
        if self.of:
            rows[:, OBJECTIVES.index("complete")] = features[:, AT[self.of]]
        return rows


def ranked(build, ranker, **settings):
    """Return a world of 60 videos whose pages `ranker` ranks."""
    world = build(FeedSettings.model_validate({"features_timeout_s": 5.0} | settings), ranker=lambda user_id: ranker)
    world.put(*(world.perception(f"v{n}", author=f"a{n}", age_h=1.0 + n / 10) for n in range(60)))
    return world


async def features_of(world, user_id="u", **seen):
    """Return the features that the slate of one page has, by video."""
    page = await world.page(user_id, **seen)
    [slate] = world.published.of(SLATES)[-1:]
    assert slate.features_version == VERSION
    rows, right = unpack([item.features for item in slate.items])
    assert right.all()
    assert [item.video_id for item in slate.items] == [item.card.video.video_id for item in page.items]
    return {item.video_id: dict(zip(NAMES, row.tolist(), strict=True)) for item, row in zip(slate.items, rows, strict=True)}


# ── features ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_slate_has_the_features_of_each_place_without_a_ranker_too(world):
    rows = await features_of(world, "nobody")
    assert len(rows) == 10
    assert all(row["viewer_known"] == 0.0 and row["video_age"] > 0.0 for row in rows.values())


async def test_features_are_what_is_known_of_viewer_and_video(build):
    world = build(FeedSettings(features_timeout_s=5.0))
    world.put(
        world.perception("old", "music", author="ann", age_h=24.0), world.perception("new", "cooking", author="bob", age_h=0.5),
        world.perception("seen-1", "music", author="ann"), world.perception("seen-2", "sports", author="ann"),
        world.perception("room", "sports", author="eve", kind="live", age_h=0.2, safety={"nsfw": 0.25}),
    )  # fmt: skip
    counts = VideoStats(
        video_id="old", as_of=world.now, impressions=180.0, plays=100.0, completions=95.0, likes=39.0, skips=11.0,
        watch_share=0.9, total_impressions=300,
    )  # fmt: skip
    world.catalogue.set_stats(counts)
    world.sweep()
    world.add_viewer(likes="music", history={"seen-1": 1.0, "seen-2": -0.4, "gone": 1.0}, followed=["ann"])
    activity = UserActivity(
        user_id="u", as_of=world.now - 60_000, events=99, impressions=40, plays=30, completes=20, likes=10, skips=5,
        skip_streak=2, session_id="s", session_events=9, session_watch_ms=30_000,
    )  # fmt: skip
    stored = world.stored.rows["u"]
    world.stored.rows["u"] = ViewerFeatures(user_id="u", activity=activity, interests=stored.interests, history=stored.history)
    rows = await features_of(world)
    old, new, room = rows["old"], rows["new"], rows["room"]
    near = pytest.approx
    assert old["viewer_complete_rate"] == near((20 + 2.5) / 50, abs=1e-3)
    assert old["viewer_events"] == near(np.log(100), abs=1e-2)
    assert (old["viewer_skip_streak"], old["viewer_history"]) == (2.0, near(3 / 200, abs=1e-4))
    assert old["viewer_recent"] == near((1.0 - 0.4 + 1.0) / 3, abs=1e-3)
    assert old["video_like_rate"] == near((39 + 1) / 200, abs=1e-3)
    assert old["video_skip_rate"] == near((11 + 9) / 200, abs=1e-3)
    assert old["video_watch_share"] == near((0.9 * 180 + 8) / 200, abs=1e-3)
    assert new["video_like_rate"] == near(0.05, abs=1e-3)
    assert old["video_shown"] == near(np.log(301), abs=1e-2)
    assert (old["video_age"], new["video_age"]) == (near(np.log(25), abs=1e-2), near(np.log(1.5), abs=1e-2))
    assert old["video_freshness"] == near(2**-4, abs=1e-3)
    assert old["interest_short"] > 0.8 > 0.3 > new["interest_short"]
    assert old["nearest_liked"] > new["nearest_liked"]
    assert (old["author_followed"], new["author_followed"]) == (1.0, 0.0)
    assert (old["author_seen"], new["author_seen"]) == (near(np.log(3), abs=1e-3), 0.0)
    assert old["author_liked"] == near(0.6, abs=1e-3)
    assert (room["video_live"], room["video_unsafe"], old["video_live"]) == (1.0, 0.25, 0.0)
    assert all(row["tower"] == 0.0 for row in rows.values())


async def test_interest_is_what_the_value_by_hand_goes_by_but_for_single_likes(world):
    world.add_viewer(likes="music")
    page = await world.page()
    for item in page.items:
        vector = world.catalogue.vectors(np.array([item.row]))
        row = unpack([item.features])[0][0]
        assert row[AT["interest"]] == pytest.approx(float(similarity(page.query.taste, vector)[0]), abs=2e-3)


async def test_the_plan_is_seen_by_its_order(world):
    ranking = (PlanItem(video_id="music-3", score=1.0), PlanItem(video_id="music-4", score=0.5))
    made = Plan(user_id="u", trigger="t", created_at=world.now, expires_at=world.now + 60_000, ranking=ranking)
    world.node.feed.plans.follow([Followed(PLANS, "u", made, world.now)])
    rows = await features_of(world)
    assert rows["music-3"]["plan_rank"] == 1.0
    assert rows["music-4"]["plan_rank"] == pytest.approx(2 ** (-1 / 5), abs=1e-3)
    assert {row["plan_rank"] for key, row in rows.items() if key not in ("music-3", "music-4")} == {0.0}


async def test_features_of_any_viewer_are_within_their_bounds(world):
    world.add_viewer(likes="music", history=dict.fromkeys([f"music-{n}" for n in range(12)], 1.0))
    world.put_stats("cooking-1", impressions=1e12, plays=0.0, likes=1e12, total_impressions=2_147_483_647)
    for user in ("u", "nobody"):
        for row in (await features_of(world, user, limit=40)).values():
            for feature in FEATURES:
                assert feature.low - 0.1 <= row[feature.name] <= feature.high + 0.1, feature.name


async def test_with_features_off_the_slate_has_none_and_pages_are_made_by_hand(build):
    world = ranked(build, Expecting(like=1.0), off=frozenset({"features"}))
    page = await world.page()
    [slate] = world.published.of(SLATES)
    assert (slate.features_version, {item.features for item in slate.items}) == (0, {b""})
    assert set(page.items[0].parts) == BY_HAND | ALWAYS


# ── value ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_without_a_ranker_the_value_is_made_by_hand(world):
    page = await world.page()
    assert all(set(item.parts) == BY_HAND | ALWAYS for item in page.items)


async def test_the_value_is_the_weighed_sum_of_what_is_expected(build):
    page = await ranked(build, Expecting(complete=0.5, watch_share=0.5, like=0.1, skip=0.2, report=0.001)).page()
    for item in page.items:
        assert set(item.parts) == BY_RANKER | ALWAYS
        assert item.parts["ranker-like"] == pytest.approx(0.05)
        assert item.parts["ranker-report"] == pytest.approx(-0.01)
        assert item.score == pytest.approx(0.2 + 0.3 + 0.05 - 0.1 - 0.01)


async def test_what_is_expected_to_be_liked_comes_first(build):
    page = await ranked(build, Expecting("video_freshness"), cold_start={"positions": ()}, mmr_lambda=1.0).page()
    assert [item.card.video.video_id for item in page.items] == [f"v{n}" for n in range(10)]


async def test_a_video_sure_to_be_reported_is_last_and_not_taken_for_one_that_was_seen(build):
    page = await ranked(build, Expecting(report=1.0)).page()
    assert len(page.items) == 10
    assert not any(item.reason.startswith("You have seen") for item in page.items)
    # The places of new videos are kept all the same.
    assert [item.position for item in page.items if item.new] == [1, 5]


async def test_a_ranker_that_finds_no_number_leaves_the_page_to_the_value_by_hand(build):
    page = await ranked(build, Expecting(like=float("nan"))).page()
    assert set(page.items[0].parts) == BY_HAND | ALWAYS


async def test_an_empty_catalogue_is_an_empty_page_with_a_ranker_too(build):
    assert (await build(ranker=lambda user_id: Expecting(like=1.0)).page()).items == ()


# ── exchange ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_real_ranker_ranks_and_all_its_parts_are_told(build, ranker_folder: Path):
    page = await ranked(build, Ranker.load(ranker_folder)).page()
    assert len(page.items) == 10
    for item in page.items:
        assert set(item.parts) == BY_RANKER | ALWAYS
        assert item.score == pytest.approx(sum(item.parts.values()), abs=1e-5)


async def test_an_exchange_in_the_middle_of_requests_drops_none_and_mixes_none(build, ranker_folder: Path):
    real, rankers = Ranker.load(ranker_folder), itertools.cycle([Expecting(like=1.0), None, Expecting(complete=1.0)])
    asked = [real]

    def now(user_id):
        # Another at each look: a page that looked twice would be of two.
        asked.append(next(rankers))
        return asked[-2]

    world = build(FeedSettings(features_timeout_s=5.0), ranker=now)
    world.put(*(world.perception(f"v{n}", author=f"a{n}") for n in range(40)))
    pages = await asyncio.gather(*(world.page(f"u{n}", seed=n) for n in range(60)))
    assert len(asked) == 61
    told = [{_opinion(item) for item in page.items} for page in pages]
    assert all(len(page.items) == 10 for page in pages)
    # One page by the real one, 20 by each of the others: whole pages, as often as each was there.
    opinions = [(0.5, 0.0), (0.0, 0.4), None]
    assert [told.count({opinion}) for opinion in opinions] == [20, 19, 20]
    [real] = [page for page, of in zip(pages, told, strict=True) if not of & set(opinions)]
    assert all(set(item.parts) == BY_RANKER | ALWAYS for item in real.items)


def _opinion(item):
    """Return what made an item's value: the parts of two objectives, None where it is made by hand."""
    if set(item.parts) == BY_HAND | ALWAYS:
        return None
    return round(item.parts["ranker-like"], 3), round(item.parts["ranker-complete"], 3)
