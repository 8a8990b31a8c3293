"""Media made to harm: a bomb, or a host that never ends its answer, costs the upload that brought it and nothing else."""

import io
import socketserver
import struct
import threading
import time
import uuid
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import httpx
import pytest

from tests.faults.load import CATCH_UP_S
from tests.faults.world import House, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def upload(house: House, video_id: str, content: bytes) -> httpx.Response:
    fields = {"video_id": video_id, "author_id": "ann", "title": f"A clip {video_id}"}
    return house.http.post("/v1/uploads", data=fields, files={"file": ("clip.mov", content)}, timeout=60.0)


def stage(house: House, video_id: str) -> object:
    return house.http.get(f"/v1/videos/{video_id}").json().get("stage")


def reasons(house: House) -> str:
    """Return why uploads became dead letters, in one text."""
    letters = house.http.get("/v1/dead-letters", params={"origin": "uploads", "limit": 100}).json()["letters"]
    return "\n".join(letter["reason"] for letter in letters)


def png(side: int) -> bytes:
    """Return a picture of side times side pixels, in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def movie(picture: bytes, count: int = 3) -> bytes:
    """Return a movie that says it is small, and whose frames are `picture`."""
    file = io.BytesIO()
    with av.open(file, "w", format="mov") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "rgb24"
        for number in range(count):
            packet = av.Packet(picture)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1)
            container.mux(packet)
    return file.getvalue()


def test_a_bomb_costs_its_own_upload_alone(house: House, videos: list[str], clip: Path) -> None:
    mark, api = uuid.uuid4().hex[:6], house.piece("api")
    # The first is refused for what it says of itself; the second lies, and is found out by whoever decodes it.
    told, untold = movie(png(16_000)), movie(png(60_000))
    assert max(len(told), len(untold)) < 10_000
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(upload, house, f"told-{mark}", told)
        second = pool.submit(upload, house, f"untold-{mark}", untold)
        good = pool.submit(upload, house, f"good-{mark}", clip.read_bytes())
        assert good.result().status_code == 202
        assert first.result().status_code == 422
        assert "media.max_pixels" in first.result().json()["error"]["message"]
        assert second.result().status_code == 202
    until(lambda: stage(house, f"good-{mark}") == "frames", within_s=CATCH_UP_S)
    refused = second.result().json()["event_id"] + ": expected a video"
    until(lambda: refused in reasons(house), within_s=CATCH_UP_S, what=lambda: reasons(house))
    until(lambda: stage(house, f"untold-{mark}") is None, within_s=CATCH_UP_S)
    after = house.piece("api")
    assert api is not None
    assert after is not None
    assert after.pid == api.pid


class Drip(socketserver.ThreadingTCPServer):
    """A host that sends a byte now and then, and never ends: of its headers, or of its body."""

    daemon_threads = True
    allow_reuse_address = True
    ending = False
    open = 0


class _Answer(socketserver.StreamRequestHandler):
    server: Drip

    def handle(self) -> None:
        asked = self.rfile.readline()
        self.server.open += 1
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: " + (b"" if b"headers" in asked else b"no\r\n\r\n"))
            while not self.server.ending:
                self.wfile.write(b"a")
                self.wfile.flush()
                time.sleep(0.2)
        except OSError:
            pass
        finally:
            self.server.open -= 1


@pytest.fixture
def drip() -> Iterator[Drip]:
    server = Drip(("127.0.0.1", 0), _Answer)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.ending = True
    server.shutdown()
    server.server_close()


def announce(house: House, video_id: str, uri: str) -> None:
    upload = {"video_id": video_id, "author_id": "eve", "title": "Slowly", "media_uri": uri}
    assert house.http.post("/v1/uploads", json=upload).status_code == 202


def test_a_host_that_never_ends_its_answer_costs_its_own_upload_alone_and_no_stop(
    house: House, videos: list[str], clip: Path, drip: Drip
) -> None:
    mark, port = uuid.uuid4().hex[:6], drip.server_address[1]
    slow = [f"slow-{part}-{mark}" for part in ("headers", "body")]
    for video_id in slow:
        announce(house, video_id, f"http://127.0.0.1:{port}/{video_id}")
    until(lambda: drip.open == 2)
    assert upload(house, f"good-{mark}", clip.read_bytes()).status_code == 202
    until(lambda: stage(house, f"good-{mark}") == "frames", within_s=CATCH_UP_S)
    for video_id in slow:
        reason = f"{video_id}: expected to be fetched in 4.0 s (media.fetch_timeout_s)"
        until(lambda reason=reason: reason in reasons(house), within_s=CATCH_UP_S, what=lambda: reasons(house))
        until(lambda video_id=video_id: stage(house, video_id) is None, within_s=CATCH_UP_S)

    # Told to stop in the middle of such a fetch, the flow does not wait for it; its next run fetches again.
    again = f"slow-again-{mark}"
    announce(house, again, f"http://127.0.0.1:{port}/{again}")
    until(lambda: drip.open == 1)
    perceive, before = house.piece("flow-perceive"), house.text().count("flow-perceive ended with status 0")
    assert perceive is not None
    perceive.terminate()
    perceive.wait(10.0)
    until(lambda: house.text().count("flow-perceive ended with status 0") == before + 1, what=house.text)
    until(lambda: f"{again}: expected to be fetched" in reasons(house), within_s=CATCH_UP_S, what=lambda: reasons(house))
