"""One house on servers that the tests take away from it."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from streams.videos import VideoTable
from tests.faults.load import upload_videos
from tests.faults.world import House, Servers


@pytest.fixture(scope="package")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    started = Servers(tmp_path_factory.mktemp("servers"))
    try:
        started.wait_ready()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="package")
def house(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One house for all faults, which must stand to their end: beside other tests it would take its share of the cores."""
    running = House(tmp_path_factory.mktemp("house"), **servers.environment)
    running.start()
    try:
        running.wait_serving()
        yield running
    finally:
        status = running.stop()
    assert status == 0, running.text()


@pytest.fixture(scope="package")
def videos(house: House) -> list[str]:
    """Videos that everything knows before the first fault."""
    return upload_videos(house)


@pytest.fixture
def table(house: House, videos: list[str]) -> Iterator[VideoTable]:
    """The videos as the flows know them."""
    known = VideoTable()
    follower = known.follow(house.settings().kafka, timeout_s=30.0)
    yield known
    follower.close()


@pytest.fixture(scope="package")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of plain red."""
    path = tmp_path_factory.mktemp("clip") / "red.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((240, 320, 3), (220, 20, 20), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
