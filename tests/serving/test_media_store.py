"""What becomes of an uploaded file whose upload does not come about, and of what a crash left of one."""

import errno
import io
import os
import time
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from starlette.datastructures import UploadFile

from serving.api import create_app
from serving.media_store import forget_left, no_room, store_media, stored_files

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "red.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), (220, 20, 20), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


async def send(world, clip: bytes) -> int:
    form = {"author_id": "ann", "title": "Red", "video_id": "red"}
    transport = httpx.ASGITransport(create_app(world.node))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return (await http.post("/v1/uploads", data=form, files={"file": ("a.mp4", clip)})).status_code


async def test_the_file_of_an_upload_that_the_broker_did_not_take_is_not_kept(world, clip):
    world.published.full = True
    assert await send(world, clip) == 503
    assert list(Path(world.node.api.media_dir).glob("*")) == []


async def test_the_file_of_an_upload_that_stands_is_kept_when_the_same_is_refused(world, clip):
    assert await send(world, clip) == 202
    world.published.full = True
    assert await send(world, clip) == 503
    assert len(stored_files(Path(world.node.api.media_dir), "red")) == 1


async def test_the_file_of_a_retry_that_stands_is_kept_when_the_first_try_is_refused_after_it(world, clip):
    first, second = [await store_media(world.node, "red", UploadFile(io.BytesIO(clip), filename="a.mp4")) for _ in range(2)]
    first.discard()
    assert second.path.read_bytes() == clip


async def test_another_authors_video_can_not_be_replaced(world):
    world.put(world.perception("theirs", author="ben"))
    transport = httpx.ASGITransport(create_app(world.node))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        answer = await http.post("/v1/uploads", json={"author_id": "eve", "title": "Mine", "video_id": "theirs"})
        again = await http.post("/v1/uploads", json={"author_id": "ben", "title": "Still mine", "video_id": "theirs"})
    assert answer.status_code == 409
    assert "another author's" in answer.json()["error"]["message"]
    assert again.status_code == 202


def test_a_full_disk_is_a_507_and_another_error_stays_one():
    answer = no_room(OSError(errno.ENOSPC, "No space left on device"))
    assert answer.status == 507
    assert answer.headers == {"Retry-After": "60"}
    with pytest.raises(OSError, match="Too many open files"):
        no_room(OSError(errno.EMFILE, "Too many open files"))


def test_what_killed_uploads_left_is_deleted_and_running_ones_are_not(tmp_path: Path):
    old, new, stored = tmp_path / "incoming-old", tmp_path / "incoming-new", tmp_path / "v-0123456789abcdef.mp4"
    for path in (old, new, stored):
        path.touch()
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    assert forget_left(tmp_path) == 1
    assert sorted(tmp_path.iterdir()) == [new, stored]
