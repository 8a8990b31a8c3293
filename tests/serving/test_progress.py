"""The way of a new video: each step once, with its time, whichever thread brings it, until the way has ended."""

import asyncio

import httpx
import pytest
from msgspec.structs import replace

from serving.api import create_app
from serving.progress import REMEMBERED, Progress
from streams.events import DeadLetter, LiveEnded, Takedown, Upload, VideoStats
from streams.follower import Followed
from streams.topics import DEAD_LETTERS, PERCEPTIONS, UPLOADS, VIDEO_STATS

pytestmark = pytest.mark.anyio
T0 = 1_800_000_000_000
CLIP = Upload(event_id="e", video_id="v", author_id="ann", title="A clip", uploaded_at=T0, media_uri="file:///clips/v.mp4")


def perceived(world, stage, at, upload=CLIP):
    made = world.perception("v", stage=stage, perceived_at=at)
    return Followed(PERCEPTIONS, "v", replace(made, video=upload), at + 3)


def shown(at, impressions=1):
    return Followed(VIDEO_STATS, "v", VideoStats(video_id="v", as_of=at, total_impressions=impressions), at)


def letter(at, key=b"v"):
    made = DeadLetter(
        origin="uploads", partition=0, offset=7, reason="expected a video, got a song", payload=b"", failed_at=at, key=key
    )
    return Followed(DEAD_LETTERS, made.letter_id, made, at)


async def way(progress):
    return [(step.step, step.since_accepted_ms) async for step in progress.steps("v")]


async def test_a_clip_goes_from_accepted_to_its_first_impression(world):
    progress = Progress()
    progress.accepted(CLIP, at=T0)
    progress.follow([perceived(world, "title", T0 + 30), shown(T0 + 200), perceived(world, "frames", T0 + 500)])
    assert await way(progress) == [("accepted", 0), ("title", 30), ("first_impression", 200), ("frames", 500)]


async def test_who_follows_hears_each_step_once_as_it_is_reached_on_any_thread(world):
    progress = Progress()
    progress.accepted(CLIP, at=T0)
    heard = []
    first = asyncio.Event()

    async def follow():
        async for step in progress.steps("v"):
            heard.append(step.step)
            first.set()

    following = asyncio.create_task(follow())
    await first.wait()
    coming = [perceived(world, "title", T0 + 30), perceived(world, "frames", T0 + 500), perceived(world, "frames", T0 + 900)]
    await asyncio.to_thread(progress.follow, [*coming, shown(T0 + 1000), shown(T0 + 1100, 2)])
    await asyncio.wait_for(following, 10)
    assert heard == ["accepted", "title", "frames", "first_impression"]


async def test_without_media_no_frames_are_waited_for(world):
    words = replace(CLIP, media_uri=None)
    progress = Progress()
    progress.accepted(words, at=T0)
    progress.follow([perceived(world, "title", T0 + 30, words), shown(T0 + 40)])
    assert await way(progress) == [("accepted", 0), ("title", 30), ("first_impression", 40)]


async def test_a_video_that_cannot_be_perceived_fails_with_the_reason(world):
    progress = Progress()
    progress.accepted(CLIP, at=T0)
    progress.follow([perceived(world, "title", T0 + 30), letter(T0 - 1), letter(T0 + 90, key=b"another"), letter(T0 + 100)])
    steps = [step async for step in progress.steps("v")]
    assert [step.step for step in steps] == ["accepted", "title", "failed"]
    assert steps[-1].detail == "expected a video, got a song"


@pytest.mark.parametrize("ending", [Takedown, LiveEnded])
async def test_a_video_that_is_taken_down_is_gone_for_those_who_follow_and_forgotten(world, ending):
    progress = Progress()
    progress.accepted(CLIP, at=T0)
    steps = progress.steps("v")
    assert (await anext(steps)).step == "accepted"
    progress.follow([Followed(UPLOADS, "v", ending(event_id="t", video_id="v", at=T0 + 50), T0 + 50)])
    assert [step.step async for step in steps] == ["gone"]
    assert "v" not in progress


async def test_a_new_upload_of_a_failed_video_begins_anew_and_the_same_one_again_does_not(world):
    progress = Progress()
    progress.accepted(CLIP, at=T0)
    progress.accepted(replace(CLIP, event_id="again"), at=T0 + 10)
    progress.follow([perceived(world, "title", T0 + 30), letter(T0 + 100)])
    progress.accepted(replace(CLIP, event_id="mended"), at=T0 + 1000)
    progress.follow([perceived(world, "title", T0 + 1030), perceived(world, "frames", T0 + 1500), shown(T0 + 1600)])
    assert await way(progress) == [("accepted", 0), ("title", 30), ("frames", 500), ("first_impression", 600)]


async def test_a_late_perception_of_the_upload_before_says_nothing_of_this_one(world):
    progress = Progress()
    progress.accepted(CLIP, at=T0)
    later = replace(CLIP, event_id="e2", media_uri="file:///clips/v2.mp4", uploaded_at=T0 + 1000)
    progress.accepted(later, at=T0 + 1000)
    progress.follow([perceived(world, "frames", T0 + 1100), perceived(world, "title", T0 + 1200, later)])
    progress.follow([perceived(world, "frames", T0 + 1500, later), shown(T0 + 1600)])
    assert await way(progress) == [("accepted", 0), ("title", 200), ("frames", 500), ("first_impression", 600)]


async def test_only_the_last_uploads_are_remembered():
    progress = Progress()
    for n in range(REMEMBERED + 10):
        progress.accepted(replace(CLIP, video_id=f"v{n}"), at=T0)
    assert "v9" not in progress
    assert "v10" in progress


async def test_the_route_tells_the_way_of_an_upload_made_here_of_an_old_video_and_of_none(world):
    transport = httpx.ASGITransport(create_app(world.node), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        await http.post("/v1/uploads", json={"video_id": "v", "author_id": "ann", "title": "Words"})
        (event,) = world.published.of(UPLOADS)
        world.node.follow_videos([perceived(world, "title", world.now + 30, event), shown(world.now + 40)])
        new = await http.get("/v1/videos/v/progress")
        old = await http.get("/v1/videos/cooking-0/progress")
        world.node.forget_video("music-0")
        gone = await http.get("/v1/videos/music-0/progress")
    assert [line for line in new.text.splitlines() if '"accepted"' in line or '"first_impression"' in line]
    assert '"title"' in old.text
    assert gone.status_code == 410
