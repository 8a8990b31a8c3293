"""A full disk: pages go on, files are refused with the reason, the rest waits; once there is room, nothing was lost."""

import contextlib
import itertools
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from headwater.flows import FLOWS
from streams.videos import VideoTable
from tests.faults.load import CATCH_UP_S, catches_up, living, upload_videos
from tests.faults.world import House, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

SIZE = 96 * 1024**2


def _can_mount() -> bool:
    """Tell whether this user may mount a file system, in a namespace of its own."""
    if shutil.which("unshare") is None:
        return False
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[House]:
    """A house with servers of its own, whose `var` is a small disk that only it has."""
    if not _can_mount():
        pytest.skip("no file system can be mounted here: unshare -rm mount -t tmpfs does not work")
    var = tmp_path / "var"
    var.mkdir()
    mount = f'mount -t tmpfs -o size={SIZE} tmpfs {var} && exec "$@"'
    # A log line a page would fill the disk by itself.
    house = House(tmp_path, "unshare", "-rm", "sh", "-c", mount, "sh", HEADWATER_FEATURES__LOG_FLUSH_S="1")
    house.start()
    try:
        house.wait_serving()
        # As the house sees it: the mount is in its namespace only.
        house.var = Path(f"/proc/{house.process.pid}/root") / var.relative_to("/")
        house.environment["HEADWATER_VAR"] = str(house.var)
        yield house
    finally:
        status = house.stop()
    assert status == 0, house.text()


@contextlib.contextmanager
def full(folder: Path) -> Iterator[Callable[[], None]]:
    """Fill the disk of `folder` while the block runs; call what it gives to fill what was freed meanwhile."""
    filler = folder / "filler"

    def fill() -> None:
        with filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                # Until there is no room for that much.
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass

    fill()
    try:
        yield fill
    finally:
        filler.unlink()


def takes_writes(house: House) -> bool:
    host, port = house.settings().features.connection_string.split(":")
    try:
        Redis(host, int(port)).set("of the test", uuid.uuid4().hex)
    except ResponseError as error:
        return "MISCONF" not in str(error)
    return True


def test_on_a_full_disk_pages_go_on_and_once_there_is_room_nothing_was_lost(small: House, clip: Path) -> None:
    videos = upload_videos(small)
    table = VideoTable()
    follower = table.follow(small.settings().kafka, timeout_s=30.0)
    media = small.var / "media"

    def send(video_id: str) -> int:
        fields = {"video_id": video_id, "author_id": "ann", "title": "A red clip"}
        answer = small.http.post("/v1/uploads", data=fields, files={"file": ("clip.mp4", clip.read_bytes())})
        if answer.status_code == 507:
            assert answer.headers["retry-after"]
            assert "disk is full" in answer.json()["error"]["message"]
        return answer.status_code

    try:
        assert send("before-full") == 202
        numbers = itertools.count()
        with living(small, videos, f"disk-{uuid.uuid4().hex[:6]}") as load:
            with full(small.var) as fill:

                def said() -> str:
                    return small.text() + small.log("redis")[-2000:] + small.log("flow-profile")[-2000:]

                def refused() -> bool:
                    # Of a snapshot that it could not write, Redis leaves room behind at any moment.
                    fill()
                    kept = sorted(media.iterdir())
                    if send(f"during-full-{next(numbers)}") != 507:
                        return False
                    assert sorted(media.iterdir()) == kept, "something of the refused file was kept"
                    return True

                # What was freed meanwhile, by a file that Redis or a flow gave up, is filled too.
                until(lambda: fill() or any(small.says(f"flow-{name} ended") for name in FLOWS), within_s=CATCH_UP_S, what=said)
                # Redis says no, and loses nothing that it said yes to.
                until(lambda: fill() or not takes_writes(small), within_s=CATCH_UP_S, what=said)
                until(refused, within_s=CATCH_UP_S, what=said)
                pages = len(load.seen.pages)
                until(lambda: len(load.seen.pages) > pages + 20, within_s=CATCH_UP_S, what=said)
            until(lambda: small.http.get("/readyz").json()["status"] == "ready", within_s=CATCH_UP_S)
            assert send("after-full") == 202
            until(
                lambda: small.http.get("/v1/videos/after-full").json().get("stage") == "frames",
                within_s=2 * CATCH_UP_S,
                what=small.text,
            )
            seen = load.end()
        # The API writes nothing of its own: every page came.
        assert {page.status for page in seen.pages} == {200}
        catches_up(small, seen, table, killed=True)
        assert os.statvfs(small.var).f_bavail > 0
    finally:
        follower.close()
