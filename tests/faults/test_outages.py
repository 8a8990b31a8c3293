"""Broker, Redis and Triton away for a while: the feed goes on, nothing accepted is lost, and everything catches up.

HEADWATER_OUTAGE_S sets how long each is away; the promise is about 60.
"""

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headwater.flows import FLOWS
from streams.videos import VideoTable
from tests.faults.load import CATCH_UP_S, catches_up, feed_went_on, living
from tests.faults.world import House, Servers, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

OUTAGE_S = float(os.environ.get("HEADWATER_OUTAGE_S", "8"))


@pytest.fixture(autouse=True)
def _no_flow_dies(house: House) -> Iterator[None]:
    before = len(house.text())
    yield
    said = house.text()[before:]
    assert not any(f"flow-{name} ended" in said for name in FLOWS), said


@contextmanager
def for_the_outage() -> Iterator[float]:
    """Give the block the length of the outage, and end no sooner than that."""
    ends = time.monotonic() + OUTAGE_S
    yield OUTAGE_S
    until(lambda: time.monotonic() > ends, within_s=OUTAGE_S + 5)


@pytest.mark.parametrize("how", ["hangs", "refuses"])
def test_without_the_broker_the_feed_goes_on_and_taps_are_refused_until_it_is_back(
    house: House, servers: Servers, videos: list[str], table: VideoTable, how: str
) -> None:
    with living(house, videos, f"broker-{how}-{uuid.uuid4().hex[:6]}") as load:
        with servers.away("broker", how), for_the_outage() as outage_s:
            until(lambda: house.check("broker") == ("degraded", False), within_s=outage_s)
            until(lambda: bool(load.seen.refusals), within_s=outage_s)
        until(lambda: house.check("broker") == ("ready", True), within_s=CATCH_UP_S)
        seen = load.end()
    assert all(refusal.event_ids for refusal in seen.refusals)
    feed_went_on(seen)
    catches_up(house, seen, table)


@pytest.mark.parametrize("how", ["hangs", "refuses"])
def test_without_redis_the_feed_goes_on_from_memory_and_taps_wait_in_kafka(
    house: House, servers: Servers, videos: list[str], table: VideoTable, how: str
) -> None:
    with living(house, videos, f"redis-{how}-{uuid.uuid4().hex[:6]}") as load:
        with servers.away("redis", how), for_the_outage() as outage_s:
            until(lambda: house.check("features") == ("degraded", False), within_s=outage_s)
            until(lambda: house.metric("headwater_features_degraded") == 1.0, within_s=outage_s)
            until(lambda: "features can't be written" in house.log("flow-profile"), within_s=outage_s)
            before = load.accepted
            until(lambda: load.accepted > before, within_s=outage_s)
        until(lambda: house.check("features") == ("ready", True), within_s=CATCH_UP_S)
        until(lambda: house.metric("headwater_features_degraded") == 0.0, within_s=CATCH_UP_S)
        seen = load.end()
    feed_went_on(seen)
    catches_up(house, seen, table)


@pytest.mark.parametrize("how", ["hangs", "refuses"])
def test_without_triton_uploads_are_taken_and_perceived_once_it_is_back(
    house: House, servers: Servers, videos: list[str], table: VideoTable, clip: Path, how: str
) -> None:
    mark = f"triton-{how}-{uuid.uuid4().hex[:6]}"
    with living(house, videos, mark) as load:
        with servers.away("triton", how), for_the_outage():
            kept, taken_down = f"{mark}-kept", f"{mark}-taken-down"
            for video_id in (kept, taken_down):
                fields = {"video_id": video_id, "author_id": "ann", "title": "A red clip"}
                answer = house.http.post("/v1/uploads", data=fields, files={"file": ("clip.mp4", clip.read_bytes())})
                assert answer.status_code == 202, answer.text
            assert house.http.delete(f"/v1/videos/{taken_down}").status_code == 200
            assert house.http.get(f"/v1/videos/{kept}").status_code == 404
        until(lambda: house.http.get(f"/v1/videos/{kept}").json().get("stage") == "frames", within_s=CATCH_UP_S)
        assert house.http.get(f"/v1/videos/{taken_down}").status_code == 410
        seen = load.end()
    feed_went_on(seen)
    catches_up(house, seen, table)
