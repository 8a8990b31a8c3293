import numpy as np
import pytest

from streams.events import LiveEnded, Takedown, VideoStats
from streams.follower import Followed
from streams.topics import PERCEPTIONS, UPLOADS

HOUR = 3_600_000


def test_a_perceived_video_is_found_by_its_meaning(world):
    rows = world.catalogue.index.nearest(world.topic_vector("music")[None], 12)
    assert {world.catalogue.card(row).topics for row in rows.tolist()} == {("music",)}


def test_a_second_perception_replaces_the_first(world):
    before = len(world.catalogue)
    world.put(world.perception("cooking-0", "sports", stage="frames"))
    assert len(world.catalogue) == before
    assert world.catalogue.find("cooking-0").stage == "frames"
    row = world.catalogue.row("cooking-0")
    assert row in world.catalogue.index.nearest(world.topic_vector("sports")[None], 13)


def test_of_two_perceptions_in_one_batch_the_later_counts(world):
    world.put(world.perception("v", stage="title"), world.perception("v", stage="frames"))
    assert world.catalogue.find("v").stage == "frames"


@pytest.mark.parametrize("ending", [Takedown, LiveEnded])
def test_a_late_perception_does_not_bring_back_what_is_gone(world, ending):
    event = ending(event_id="t", video_id="cooking-0", at=world.now)
    world.catalogue.follow([Followed(UPLOADS, "cooking-0", event, world.now)])
    world.put(world.perception("cooking-0", stage="frames"))
    assert "cooking-0" not in world.catalogue
    assert world.catalogue.row("cooking-0") is None


def test_a_takedown_known_before_its_video_keeps_it_out(world):
    takedown = Followed(UPLOADS, "v", Takedown(event_id="t", video_id="v", at=world.now), world.now)
    perceived = Followed(PERCEPTIONS, "v", world.perception("v"), world.now)
    world.catalogue.follow([perceived, takedown])
    assert "v" not in world.catalogue


def test_a_tombstone_takes_a_video_out_and_a_new_perception_brings_it_back(world):
    tombstone = Followed(PERCEPTIONS, "cooking-0", None, world.now)
    perceived = Followed(PERCEPTIONS, "cooking-0", world.perception("cooking-0"), world.now)
    world.catalogue.follow([perceived, tombstone])
    assert "cooking-0" not in world.catalogue
    world.catalogue.follow([tombstone, perceived])
    assert "cooking-0" in world.catalogue


def test_a_row_rests_before_it_is_used_again(world):
    row = world.catalogue.row("cooking-0")
    world.catalogue.remove(["cooking-0"], now_ms=world.now)
    world.put(world.perception("soon"))
    assert world.catalogue.row("soon") != row
    assert world.catalogue.card(row).video.video_id == "cooking-0"
    world.now += HOUR
    world.put(world.perception("later"))
    assert world.catalogue.row("later") == row
    assert world.catalogue.columns.impressions[row] == 0


def test_old_videos_leave(world):
    world.now += 163 * HOUR
    world.sweep()
    assert len(world.catalogue) == 5 * 4
    assert len(world.catalogue.index) == 5 * 4


def test_a_video_that_is_too_old_does_not_come_in(world):
    world.put(world.perception("old", age_h=200.0))
    assert "old" not in world.catalogue


def test_statistics_that_come_before_their_video_are_kept_for_it(world):
    world.catalogue.set_stats(VideoStats(video_id="v", as_of=world.now, impressions=7.0, total_impressions=9))
    world.put(world.perception("v"))
    assert world.catalogue.columns.impressions[world.catalogue.row("v")] == 9


def test_places_served_count_until_the_statistics_include_them(world):
    row = np.array([world.catalogue.row("cooking-0")])
    world.catalogue.columns.served[row] += 5
    assert world.catalogue.columns.shown(row).tolist() == [5]
    world.put_stats("cooking-0", total_impressions=3)
    assert world.catalogue.columns.shown(row).tolist() == [5]
    world.put_stats("cooking-0", total_impressions=8)
    assert world.catalogue.columns.shown(row).tolist() == [8]


def test_memory_grows_past_its_first_size_and_keeps_what_it_has(build):
    world = build()
    world.put(*(world.perception(f"v{n}") for n in range(3000)))
    assert len(world.catalogue) == len(world.catalogue.index) == 3000
    row = world.catalogue.row("v7")
    assert world.catalogue.vectors(np.array([row]))[0] @ world.topic_vector("cooking") > 0.8
