"""A clock that jumps an hour, ahead or back, while everything runs: no crash, no wait of an hour, nothing counted twice."""

import shutil
import struct
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.flows import FLOWS
from streams.clock import now_ms
from streams.follower import Followed, Follower
from streams.topics import HEARTBEATS
from streams.videos import VideoTable
from tests.faults.load import CATCH_UP_S, catches_up, living, upload_videos
from tests.faults.world import House, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

HOUR_S = 3600


class Clock:
    """The time of day of a house. What is never set on a real machine, as CLOCK_MONOTONIC, is not set here."""

    def __init__(self, folder: Path, compiler: str) -> None:
        self._file, library = folder / "clock", folder / "clock.so"
        self.set(0)
        source = Path(__file__).with_name("clock.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl", "-lpthread"], check=True)
        self.environment = {"LD_PRELOAD": str(library), "HEADWATER_TEST_CLOCK": str(self._file)}

    def set(self, ahead_s: int) -> None:
        """Set the clock so many seconds ahead of the real one."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", ahead_s))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: the clock of processes is set by a library that this test compiles")
    return Clock(tmp_path, compiler)


@pytest.fixture
def jumping(tmp_path: Path, clock: Clock) -> Iterator[House]:
    """A house with servers of its own, all of whose processes go by `clock`."""
    house = House(tmp_path, **clock.environment)
    house.start()
    try:
        house.wait_serving()
        yield house
    finally:
        status = house.stop()
    assert status == 0, house.text()


def test_a_clock_that_jumps_an_hour_ahead_and_back_stops_nothing_and_counts_nothing_twice(
    jumping: House, clock: Clock, clip: Path
) -> None:
    videos = upload_videos(jumping)
    table = VideoTable()
    follower = table.follow(jumping.settings().kafka, timeout_s=30.0)

    ahead: set[str] = set()

    def note(batch: list[Followed]) -> None:
        """Take note of the processes whose heartbeats tell of the later time."""
        ahead.update(beat.event.process for beat in batch if beat.event.at > now_ms() + HOUR_S * 500)

    heartbeats = Follower(jumping.settings().kafka, [HEARTBEATS], note, from_end=True, name="heartbeats").start(timeout_s=30.0)

    def perceived(video_id: str) -> None:
        fields = {"video_id": video_id, "author_id": "ann", "title": "A red clip"}
        answer = jumping.http.post("/v1/uploads", data=fields, files={"file": ("clip.mp4", clip.read_bytes())})
        assert answer.status_code == 202, answer.text
        until(
            lambda: jumping.http.get(f"/v1/videos/{video_id}").json().get("stage") == "frames",
            within_s=CATCH_UP_S,
            what=lambda: jumping.http.get(f"/v1/videos/{video_id}").text + jumping.log("flow-perceive")[-3000:],
        )

    try:
        perceived("before")
        with living(jumping, videos, f"clock-{uuid.uuid4().hex[:6]}") as load:
            clock.set(HOUR_S)
            perceived("ahead")
            until(lambda: {f"flow-{name}" for name in FLOWS} <= ahead, within_s=CATCH_UP_S)
            assert not any(jumping.says(f"flow-{name} ended") for name in FLOWS), jumping.text()
            clock.set(0)
            # Timers that were set by the old time would sleep for an hour: each flow begins again, and says why.
            for name in FLOWS:
                until(lambda name=name: jumping.says(f"flow-{name} runs again"), within_s=CATCH_UP_S, what=jumping.text)
                assert "the clock was set back by 3600 s" in jumping.log(f"flow-{name}")
            perceived("back")
            seen = load.end()
        assert {page.status for page in seen.pages} == {200}
        catches_up(jumping, seen, table, killed=True)
        assert not jumping.says("api ended"), jumping.text()
    finally:
        heartbeats.close()
        follower.close()
