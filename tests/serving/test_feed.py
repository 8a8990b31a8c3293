import asyncio
from collections import Counter

import pytest

from serving.feed.query import Query
from serving.settings import ColdStartSettings, FeedSettings
from streams.codec import pack_vector
from streams.events import Plan, PlanItem, Slate, Steer
from streams.follower import Followed
from streams.topics import PLANS, SLATES

pytestmark = pytest.mark.anyio
CALM = {"features_timeout_s": 5.0}
NO_EXPLORATION = FeedSettings(cold_start=ColdStartSettings(positions=()), **CALM)


def topics(page):
    return Counter(item.card.topics[0] for item in page.items)


def shown(page):
    return [item.card.video.video_id for item in page.items]


def plan(world, user_id="u", *, ranking=(), steering=(), expires_in=60_000):
    made = Plan(
        user_id=user_id,
        trigger="test",
        created_at=world.now,
        expires_at=world.now + expires_in,
        ranking=ranking,
        steering=steering,
    )
    world.node.feed.plans.follow([Followed(PLANS, user_id, made, world.now)])


def wish(world, topic, weight):
    return Steer(text=topic, weight=weight, embedding=pack_vector(world.topic_vector(topic)))


async def test_a_new_viewer_gets_a_full_and_diverse_page(world):
    page = await world.page("nobody")
    assert len(set(shown(page))) == 10
    assert len(topics(page)) >= 4


async def test_likes_show_on_the_next_page_with_the_reason(world):
    world.add_viewer(likes="music", history={"music-0": 1.0})
    page = await world.page()
    assert topics(page)["music"] >= 5
    assert "music-0" not in shown(page)
    assert any(item.reason == "Because you liked “About music: music-0”" for item in page.items)


async def test_a_topic_is_named_where_no_single_like_explains_it(world):
    world.add_viewer(likes="music")
    page = await world.page()
    assert any(item.reason == "More music, like you watched lately" for item in page.items)


async def test_nothing_comes_twice_while_there_is_something_else(world):
    pages = [shown(await world.page()) for _ in range(6)]
    assert len({video for page in pages for video in page}) == 60


async def test_when_all_was_seen_the_videos_seen_longest_ago_come_again(world):
    seen = [f"{topic}-{n}" for topic in ("cooking", "politics", "music", "animals", "sports") for n in range(12)]
    world.add_viewer(history=dict.fromkeys(seen, 0.1))
    page = await world.page()
    assert sorted(shown(page)) == sorted(seen[:10])
    assert {item.reason for item in page.items} == {"You have seen what is new: worth another look"}


async def test_unseen_videos_come_before_those_that_come_again(world):
    seen = [f"{topic}-{n}" for topic in ("cooking", "politics", "music", "animals", "sports") for n in range(12)][:-3]
    world.add_viewer(history=dict.fromkeys(seen, 0.1))
    page = await world.page()
    assert set(shown(page)[:3]) == {"sports-9", "sports-10", "sports-11"}
    assert len(page.items) == 10


async def test_a_takedown_is_honoured_at_the_next_request(world):
    world.add_viewer(likes="music", history={"music-0": 1.0})
    target = shown(await world.page())[0]
    world.node.feed.last_pages.forget("u")
    world.node.forget_video(target)
    assert target not in shown(await world.page())


async def test_a_blocked_author_is_not_shown(world):
    authors = {item.card.video.author_id for item in (await world.page("other", limit=50)).items}
    world.add_viewer(blocked=sorted(authors)[:5])
    page = await world.page(limit=30)
    assert not {item.card.video.author_id for item in page.items} & set(sorted(authors)[:5])


async def test_an_unsafe_video_is_not_shown(build):
    world = build()
    world.put(world.perception("bad", safety={"nsfw": 0.95}), world.perception("good", safety={"nsfw": 0.1}))
    assert shown(await world.page()) == ["good"]


async def test_a_followed_authors_video_says_so(world):
    world.add_viewer(followed=["author-3"])
    page = await world.page()
    assert any(item.reason == "From @author-3, whom you follow" for item in page.items)


async def test_a_live_room_is_shown_until_it_ends(world):
    world.put(world.perception("room", "sports", kind="live", age_h=0.1))
    page = await world.page("a")
    assert [item.reason for item in page.items if item.card.video.video_id == "room"] == ["Live now"]
    world.node.forget_video("room")
    assert "room" not in shown(await world.page("b"))


async def test_an_instruction_brings_more_of_what_was_asked_for_and_less_of_the_rest(world):
    world.add_viewer(likes="politics")
    before = topics(await world.page())
    world.node.feed.last_pages.forget("u")
    plan(world, steering=(wish(world, "cooking", 1.0), wish(world, "politics", -1.0)))
    page = await world.page()
    assert before["politics"] > topics(page)["politics"]
    assert topics(page)["cooking"] > before["cooking"]
    assert any(item.reason == "You asked for more cooking" for item in page.items)


async def test_a_fresh_plan_leads_and_an_expired_one_means_nothing(build):
    world = build(NO_EXPLORATION)
    world.put(*(world.perception(f"v{n}", author=f"a{n}", age_h=1.0) for n in range(40)))
    plan(world, ranking=(PlanItem(video_id="v33", score=1.0), PlanItem(video_id="v7", score=0.5)))
    assert shown(await world.page())[0] == "v33"
    plan(world, "w", ranking=(PlanItem(video_id="v33", score=1.0),), expires_in=0)
    assert all(item.parts["plan-rank"] == 0.0 for item in (await world.page("w")).items)


async def test_the_feed_goes_on_from_memory_when_the_store_is_away(world):
    world.add_viewer(likes="music")
    with_store = topics(await world.page())
    world.stored.away = True
    for _ in range(5):
        world.node.feed.last_pages.forget("u")
        assert topics(await world.page())["music"] >= with_store["music"] - 1
    assert world.node.feed.viewers.degraded


async def test_kept_places_go_to_new_videos_and_are_marked(build):
    world = build(FeedSettings(cold_start=ColdStartSettings(max_age_h=0.5), **CALM))
    world.put(*(world.perception(f"old{n}", author=f"a{n}", age_h=2.0 + n) for n in range(30)))
    world.put(world.perception("debut", author="newcomer", age_h=0.01))
    page = await world.page()
    assert [(item.position, item.new) for item in page.items if item.card.video.video_id == "debut"] == [(1, True)]
    assert page.items[1].reason == "New: you are among the first to see it"
    assert page.items[1].source == "exploration"


async def test_a_new_videos_budget_ends(build):
    world = build(FeedSettings(cold_start=ColdStartSettings(impressions=3), **CALM))
    world.put(*(world.perception(f"v{n}", author=f"a{n}") for n in range(12)))
    for n in range(12):
        world.put_stats(f"v{n}", total_impressions=3, impressions=3.0)
    assert not any(item.new for item in (await world.page()).items)


async def test_a_new_video_is_not_explored_on_viewers_it_does_not_fit(build):
    world = build(FeedSettings(cold_start=ColdStartSettings(min_similarity=0.5), **CALM))
    world.put(*(world.perception(f"v{n}", "politics", author=f"a{n}") for n in range(20)))
    world.add_viewer(likes="music")
    assert not any(item.new for item in (await world.page()).items)
    assert any(item.new for item in (await world.page("nobody")).items)


async def test_the_slate_event_tells_what_was_served_and_what_might_have_been(world):
    page = await world.page()
    (slate,) = world.published.of(SLATES)
    assert isinstance(slate, Slate)
    assert [item.video_id for item in slate.items] == shown(page)
    assert set(slate.pool) >= set(shown(page))
    assert len(slate.pool) == len(set(slate.pool)) == 60
    assert all(0.0 < item.propensity <= 1.0 for item in slate.items)
    assert all(abs(item.propensity + sum(item.rivals.values()) - 1.0) < 1e-9 for item in slate.items)


async def test_a_full_queue_costs_the_slate_event_and_not_the_page(world):
    world.published.full = True
    assert len((await world.page()).items) == 10
    assert b"headwater_slates_lost_total 1.0" in world.node.metrics.text()


async def test_the_same_seed_gives_the_same_page(world):
    first = await world.page("a", seed=5)
    second = await world.page("b", seed=5)
    assert shown(first) == shown(second)


async def test_every_stage_is_traced_and_parts_add_up(world):
    page = await world.page()
    assert {stage.kind for stage in page.trace} == {"hydrator", "source", "filter", "scorer", "selector"}
    for item in page.items:
        assert item.score == pytest.approx(sum(item.parts.values()))


async def test_a_stage_can_be_switched_off(build):
    world = build(FeedSettings(off=frozenset({"seen", "exploration"}), **CALM))
    world.put(*(world.perception(f"v{n}", author=f"a{n}") for n in range(3)))
    assert sorted(shown(await world.page())) == sorted(shown(await world.page()))
    assert "exploration" not in {stage.name for stage in (await world.page()).trace}


def test_switching_off_what_is_not_there_is_an_error_that_lists_what_is(build):
    with pytest.raises(ValueError, match=r"'sources'.*stages that can be off: .*popular"):
        build(FeedSettings(off=frozenset({"sources"})))


async def test_an_empty_catalogue_gives_an_empty_page(build):
    assert (await build().page()).items == ()


async def test_a_read_past_the_deadline_does_not_hold_up_the_page(build):
    world = build(FeedSettings(features_timeout_s=0.01))
    world.put(world.perception("v"))
    release = asyncio.Event()
    loop = asyncio.get_running_loop()
    slow = world.stored.viewer

    def hanging(user_id):
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
        return slow(user_id)

    world.stored.viewer = hanging
    assert shown(await world.page()) == ["v"]
    release.set()


async def test_a_request_asks_for_at_most_what_there_is(world):
    asked: Query = world.query(limit=50)
    page = await world.node.feed.pipeline.run(asked)
    assert len(page.items) == 50
    assert [item.position for item in page.items] == list(range(50))
