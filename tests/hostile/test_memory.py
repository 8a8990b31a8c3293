"""What memory keeps of a video that was taken down, and what it makes of events that lie about time."""

import asyncio

import numpy as np
import pytest
from msgspec.structs import replace

from streams.codec import BadEvent, encode, pack_vector
from streams.events import Takedown, VideoStats
from streams.follower import Followed, followed
from streams.topics import PERCEPTIONS, UPLOADS, VIDEO_STATS
from streams.videos import VideoTable
from tests.serving.conftest import HOUR, NOW, World, build, perception, topic_vector, world  # noqa: F401

YEAR_9999 = 253_402_300_799_999


def test_a_takedown_leaves_nothing_of_a_video_in_an_api_node(world: World) -> None:  # noqa: F811
    catalogue = world.catalogue
    catalogue.set_stats(VideoStats(video_id="late", as_of=NOW, likes=5.0))
    row = catalogue.row("music-0")
    size = len(catalogue.index)
    assert row is not None
    for video_id in ("music-0", "late"):
        ending = Takedown(event_id="t", video_id=video_id, at=NOW)
        world.node.follow_videos([Followed(UPLOADS, video_id, ending, NOW)])
    world.sweep()
    assert "music-0" not in catalogue
    assert catalogue.find("music-0") is None
    assert len(catalogue.index) == size - 1
    assert row not in catalogue.index.nearest(topic_vector("music")[np.newaxis], 60)
    assert row not in world.node.feed.shelves.popular
    shown = {item.card.video.video_id for seed in range(20) for item in asyncio.run(world.page("u", seed=seed)).items}
    assert shown
    assert "music-0" not in shown
    # Statistics that came before it and a perception that comes after it bring nothing back.
    assert catalogue.put([perception("late", "music"), perception("music-0", "music")], now_ms=NOW) == 0


def test_a_takedown_leaves_nothing_of_a_video_in_the_flows_table() -> None:
    videos = VideoTable()
    videos.take_in([Followed(PERCEPTIONS, "v", perception("v"), NOW)])
    assert videos.get("v") is not None
    videos.take_in([Followed(PERCEPTIONS, "v", None, NOW)])
    assert videos.get("v") is None
    assert videos.is_gone("v")
    assert len(videos) == 0


def test_a_video_of_the_year_9999_is_neither_the_freshest_for_ever_nor_kept_for_ever(world: World) -> None:  # noqa: F811
    liar = perception("liar", "music")
    liar = replace(liar, video=replace(liar.video, uploaded_at=YEAR_9999))
    world.node.follow_videos([Followed(PERCEPTIONS, "liar", liar, NOW)])
    stats = VideoStats(video_id="liar", as_of=YEAR_9999, likes=100.0, impressions=100.0)
    world.node.follow_videos([Followed(VIDEO_STATS, "liar", stats, NOW)])
    row = world.catalogue.row("liar")
    assert row is not None
    week = 168 * HOUR
    assert world.catalogue.columns.gain(np.array([row]), NOW + 10 * week)[0] < 1e-3
    world.catalogue.evict(now_ms=NOW + week + 1)
    assert "liar" not in world.catalogue


async def _pages(world: World) -> list[int]:  # noqa: F811
    for seed in range(5):
        await world.page("u", seed=seed)
    return world.catalogue.columns.served.tolist()


def test_a_viewer_who_asks_for_pages_all_day_uses_up_a_videos_exploration_once(world: World) -> None:  # noqa: F811
    # Twelve pages' worth of asking, and there are six of videos: all come again.
    served = asyncio.run(_pages(world)) and asyncio.run(_pages(world)) and asyncio.run(_pages(world))
    assert max(served) == 1


def test_a_packed_vector_that_is_no_number_never_reaches_the_index() -> None:
    for vector in (np.full(384, np.nan), np.full(384, np.inf), np.zeros(384), np.full(384, 60_000.0)):
        spoilt = replace(perception("v"), embedding=pack_vector(vector.astype(np.float32)))
        with pytest.raises(BadEvent, match="length 1"):
            followed(PERCEPTIONS, encode(spoilt), b"v", NOW)
