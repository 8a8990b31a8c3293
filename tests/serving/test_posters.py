"""Stills: made by the decoder's own process when first asked for, kept beside the media, and gone with their video."""

import asyncio
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import httpx
import numpy as np
import pytest

from headwater.stored_media import forget_files
from models.perception.media import poster
from models.settings import MediaSettings
from serving.api import create_app
from serving.keys import COOKIE
from serving.posters import forget_old_posters
from streams.ports import BadMedia

pytestmark = pytest.mark.anyio

BLACK, GREY = (0, 0, 0), (128, 128, 128)
WriteClip = Callable[..., Path]


def picture(width, height):
    """Return a picture that is plainly upright: red above, white in the middle, blue below."""
    pixels = np.full((height, width, 3), 240, np.uint8)
    pixels[: height // 3] = (200, 20, 20)
    pixels[-(height // 3) :] = (20, 20, 200)
    return pixels


def write_clip(path: Path, frames, *, rotation: int = 0, aspect: Fraction | None = None, fps: int = 4) -> Path:
    """Write a video of these frames, each an array of RGB."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def plain(colour, width=320, height=240):
    return np.full((height, width, 3), colour, np.uint8)


def decoded(jpeg: bytes):
    assert jpeg[:2] == b"\xff\xd8"
    with av.open(BytesIO(jpeg)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def client(world, **headers):
    transport = httpx.ASGITransport(create_app(world.node), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


def clip_of(world, video_id="clip", frames=None):
    """Put a video with a stored file into the world and return the file's path."""
    path = Path(world.node.api.media_dir) / f"{video_id}.mp4"
    write_clip(path, frames or [picture(320, 240)] * 4)
    world.put(world.perception(video_id, media_uri=path.as_uri()))
    return path


def test_the_first_frame_that_shows_something_is_taken(tmp_path: Path):
    frames = [plain(BLACK)] * 8 + [plain(GREY)] * 8 + [picture(320, 240)] * 8
    pixels = decoded(poster(write_clip(tmp_path / "c.mp4", frames), MediaSettings()))
    assert pixels.shape == (240, 320, 3)
    assert pixels[20].mean(axis=0)[0] > 150 > 100 > pixels[20].mean(axis=0)[2]
    assert pixels[-20].mean(axis=0)[2] > 150


def test_a_clip_that_shows_nothing_still_has_a_still(tmp_path: Path):
    assert decoded(poster(write_clip(tmp_path / "c.mp4", [plain(BLACK)] * 4), MediaSettings())).mean() < 20


def test_the_short_side_is_bounded_and_the_aspect_kept(tmp_path: Path):
    tall = write_clip(tmp_path / "tall.mp4", [picture(1080, 1920)] * 2)
    assert decoded(poster(tall, MediaSettings())).shape == (1280, 720, 3)
    odd = write_clip(tmp_path / "odd.mp4", [picture(178, 98)] * 2)
    assert decoded(poster(odd, MediaSettings())).shape == (98, 178, 3)


def test_pixels_that_are_not_square_are_made_square(tmp_path: Path):
    wide = write_clip(tmp_path / "wide.mp4", [picture(320, 240)] * 2, aspect=Fraction(4, 3))
    assert decoded(poster(wide, MediaSettings())).shape == (240, 427, 3)


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_a_clip_that_was_filmed_on_its_side_is_shown_upright(tmp_path: Path, rotation: int):
    upright = picture(320, 240)
    # As a phone stores it: turned against the rotation that it names.
    stored = np.ascontiguousarray(np.rot90(upright, -rotation // 90))
    pixels = decoded(poster(write_clip(tmp_path / "c.mp4", [stored] * 4, rotation=rotation), MediaSettings()))
    assert pixels.shape == (240, 320, 3)
    assert pixels[10].mean(axis=0)[0] > 150
    assert pixels[-10].mean(axis=0)[2] > 150


def test_a_file_that_is_no_video_is_refused_as_by_every_decode(tmp_path: Path):
    song = tmp_path / "song.mp4"
    song.write_bytes(b"la la la " * 100)
    with pytest.raises(BadMedia, match="expected a video"):
        poster(song, MediaSettings())


async def test_a_still_is_made_once_kept_and_known_to_browsers_again(world):
    path = clip_of(world)
    async with client(world) as http:
        view = (await http.get("/v1/videos/clip")).json()
        first = await http.get(view["poster_url"])
        (kept,) = Path(world.node.api.posters_dir).glob("*/*.jpg")
        path.write_bytes(b"no longer a video")
        second = await http.get(view["poster_url"])
        again = await http.get(view["poster_url"], headers={"If-None-Match": first.headers["etag"]})
    assert first.headers["content-type"] == "image/jpeg"
    assert first.headers["cache-control"].startswith("private")
    assert first.content == second.content == kept.read_bytes()
    assert again.status_code == 304
    assert not again.content


async def test_many_who_ask_at_once_share_one_decode(world):
    clip_of(world)
    async with client(world) as http:
        answers = await asyncio.gather(*(http.get("/v1/videos/clip/poster") for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1


async def test_a_video_without_media_here_has_no_still(world):
    world.put(world.perception("elsewhere", media_uri="https://cdn.example.com/a.mp4"))
    broken = clip_of(world, "broken")
    broken.write_bytes(b"not a video at all")
    async with client(world) as http:
        assert (await http.get("/v1/videos/elsewhere")).json()["poster_url"] is None
        for video_id in ("elsewhere", "cooking-0", "broken", "broken", "never"):
            assert (await http.get(f"/v1/videos/{video_id}/poster")).status_code == 404, video_id


async def test_a_still_goes_with_its_video_and_is_counted(world):
    clip_of(world)
    media, posters = Path(world.node.api.media_dir), Path(world.node.api.posters_dir)
    async with client(world) as http:
        assert (await http.get("/v1/videos/clip/poster")).status_code == 200
        world.node.forget_video("clip")
        assert forget_files(media, posters, "clip") == 1
        assert (await http.get("/v1/videos/clip/poster")).status_code == 410
    assert not list(posters.rglob("*.jpg"))
    assert forget_files(media, posters, "clip") == 0


async def test_an_old_still_goes_and_is_made_again_for_who_asks_yet(world):
    clip_of(world)
    folder = Path(world.node.api.posters_dir)
    async with client(world) as http:
        assert (await http.get("/v1/videos/clip/poster")).status_code == 200
        [still] = folder.rglob("*.jpg")
        assert forget_old_posters(folder, before=still.stat().st_mtime) == 0
        assert forget_old_posters(folder, before=still.stat().st_mtime + 1) == 1
        assert list(folder.rglob("*.jpg")) == []
        assert (await http.get("/v1/videos/clip/poster")).status_code == 200


async def test_a_still_that_is_made_while_its_video_is_taken_down_is_not_kept(world):
    clip_of(world)
    async with client(world) as http:
        asking = asyncio.create_task(http.get("/v1/videos/clip/poster"))
        # The request has found its video by the time the decoder's process runs.
        while not asking.done() and not any(task.get_coro().__name__ == "_make" for task in asyncio.all_tasks()):
            await asyncio.sleep(0)
        world.node.forget_video("clip")
        assert (await asking).status_code in (404, 410)
    assert not list(Path(world.node.api.posters_dir).rglob("*.jpg"))


async def test_with_keys_a_cookie_plays_the_video_by_ranges_and_shows_its_still(build):
    world = build(keys=[{"key": "feed-key-0123456789", "scopes": ["feed"]}])
    path = clip_of(world)
    async with client(world) as http:
        assert (await http.get("/v1/videos/clip/media")).status_code == 401
        assert (await http.get("/v1/videos/clip/poster")).status_code == 401
        await http.post("/v1/session", json={"key": "feed-key-0123456789"})
        assert COOKIE in http.cookies
        part = await http.get("/v1/videos/clip/media", headers={"Range": "bytes=10-29"})
        rest = await http.get("/v1/videos/clip/media", headers={"Range": "bytes=30-"})
        beyond = await http.get("/v1/videos/clip/media", headers={"Range": "bytes=99999999-"})
        still = await http.get("/v1/videos/clip/poster")
    whole = path.read_bytes()
    assert (part.status_code, part.content) == (206, whole[10:30])
    assert part.headers["content-range"] == f"bytes 10-29/{len(whole)}"
    assert part.headers["content-type"] == "video/mp4"
    assert "attachment" not in part.headers.get("content-disposition", "")
    assert rest.content == whole[30:]
    assert beyond.status_code == 416
    assert still.status_code == 200


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.webm", "video/webm"),
        ("a.MOV", "video/quicktime"),
        ("a.mkv", "video/x-matroska"),
        ("a.bin", "application/octet-stream"),
    ],
)
async def test_players_are_told_what_a_file_is(world, name, kind):
    path = Path(world.node.api.media_dir) / name
    path.write_bytes(b"0123456789")
    world.put(world.perception("v", media_uri=path.as_uri()))
    async with client(world) as http:
        assert (await http.get("/v1/videos/v/media")).headers["content-type"] == kind
