"""Forgotten means gone: write everywhere, erase, and look into every store for the name."""

import json
import signal
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from serving.purges import USER_STORES, VIDEO_STORES
from streams.events import Erasure, Interaction
from tests.hostile.conftest import KEY, Inside

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

VIDEOS = 12


@pytest.fixture(scope="module", autouse=True)
def _videos(inside: Inside) -> None:
    for number in range(VIDEOS):
        video = {"video_id": f"noodles-{number}", "author_id": f"cook-{number}", "title": f"Noodles {number}"}
        assert inside.ask("POST", "/v1/uploads", video)[0] == 202
    inside.until(lambda: len(inside.page("nobody")["items"]) == 10)


def watch(inside: Inside, user_id: str) -> dict[str, Any]:
    """Leave traces of a viewer in every store: pages, taps, a wish, and input that nobody could use."""
    page = inside.page(user_id)
    shown = [
        {"user_id": user_id, "video_id": item["video_id"], "request_id": page["request_id"], "position": item["position"]}
        for item in page["items"]
    ]
    taps = [tap | {"action": action, "watch_ms": 900} for tap in shown for action in ("impression", "play", "like")]
    assert inside.ask("POST", "/v1/interactions", taps)[0] == 202
    assert inside.ask("POST", "/v1/instructions", {"user_id": user_id, "text": "more noodles"})[0] == 202
    inside.produce("interactions", json.dumps({"user_id": user_id, "action": "stare"}).encode(), user_id.encode())
    inside.until(lambda: inside.page(user_id)["as_of"] > 0)
    return page


def logged(inside: Inside, folder: str, column: str, value: str) -> int:
    """Return how many rows of the logs below `folder` are about somebody."""
    count = 0
    for view in {path.parent.parent for path in (inside.var / folder).rglob("*.parquet")}:
        rows = ds.dataset(view, partitioning="hive", exclude_invalid_files=True)
        if column in rows.schema.names:
            count += rows.count_rows(filter=ds.field(column) == value)
    return count


def test_an_erased_viewer_is_found_in_no_store(inside: Inside) -> None:
    name = "viewer-Qz7-to-be-forgotten"
    watch(inside, name)
    # The search finds it wherever it is: an empty result below means something.
    inside.until(lambda: inside.redis_holds(name))
    inside.until(lambda: name in inside.table("plans"))
    inside.until(lambda: logged(inside, "feature_log", "user_id", name))
    inside.until(lambda: logged(inside, "feedback_log", "user_id", name))
    inside.until(
        lambda: {path.split("/")[1] for path in inside.files_with(name, "recovery")} == {"profile", "rerank", "feedback"}
    )
    inside.until(lambda: any(name.encode() in letter.payload for letter in inside.table("dead-letters").values()))

    status, answer = inside.ask("DELETE", f"/v1/users/{name}")
    assert status == 200
    assert answer["complete"], answer
    counts = {store["store"]: store["purged"] for store in answer["stores"] if store["status"] == "purged"}
    assert set(counts) == {"memory of this API node", "dead-letters topic", *USER_STORES}
    # Its pages may have closed meanwhile; everything else was there, and says so.
    assert all(count > 0 for store, count in counts.items() if store != "flow state: feedback"), counts
    later = {store["store"]: store["detail"] for store in answer["stores"] if store["status"] == "expires"}
    topics = {f"topic {topic}" for topic in ("interactions", "slates", "feedback", "purges", "spans")}
    assert set(later) == topics | {"recovery snapshots"}

    assert inside.redis_holds(name) == []
    assert logged(inside, "feature_log", "user_id", name) == 0
    assert logged(inside, "feedback_log", "user_id", name) == 0
    assert name not in inside.table("plans")
    assert not any(name.encode() in letter.payload for letter in inside.table("dead-letters").values())
    assert inside.files_with(name, "feature_log", "feedback_log", "media", "posters") == set()
    # Bytes of superseded snapshots go some snapshots later, and the mark of the erasure itself once no window is open.
    inside.until(lambda: not inside.files_with(name, "recovery"), within_s=90.0)

    page = inside.page(name)
    assert page["as_of"] == 0
    assert not any("asked for" in item["reason"] for item in page["items"])


def test_nothing_of_an_erased_viewer_comes_back_with_the_process(inside: Inside) -> None:
    name = "viewer-Rk3-before-a-restart"
    watch(inside, name)
    inside.until(lambda: any("asked for" in item["reason"] for item in inside.page(name)["items"]))
    assert inside.ask("DELETE", f"/v1/users/{name}")[1]["complete"]
    for process in ("api", "flow-profile", "flow-rerank", "flow-feedback"):
        before = inside.house.send(process, signal.SIGKILL).pid
        inside.until(lambda process=process, before=before: _runs_again(inside, process, before))
    inside.until(lambda: _is_ready(inside))
    page = inside.page(name)
    assert page["as_of"] == 0
    assert not any("asked for" in item["reason"] for item in page["items"])
    assert inside.redis_holds(name) == []
    assert name not in inside.table("plans")


def _runs_again(inside: Inside, process: str, before: int) -> bool:
    found = inside.house.families().get(process)
    return bool(found) and found[0].pid != before


def _is_ready(inside: Inside) -> bool:
    try:
        return inside.ask("GET", "/readyz")[0] == 200
    except OSError:
        return False


def test_an_erasure_between_taps_forgets_those_before_it_and_counts_those_after(inside: Inside) -> None:
    from feature_repo.reader import FeatureReader

    name, ending = "viewer-Tw1-taps-on", threading.Event()
    number = 0

    def tap() -> None:
        nonlocal number
        while not ending.is_set():
            taps = {"user_id": name, "action": "play"}
            batch = [taps | {"event_id": f"{name}-{number}-{n}", "video_id": f"noodles-{n}"} for n in range(5)]
            assert inside.ask("POST", "/v1/interactions", batch)[0] == 202
            number += 1
            ending.wait(0.02)

    tapping = threading.Thread(target=tap)
    tapping.start()
    try:
        reader = FeatureReader(inside.settings.features)
        inside.until(lambda: reader.viewer(name).activity is not None)
        assert inside.ask("DELETE", f"/v1/users/{name}")[1]["complete"]
        before = number
        inside.until(lambda: number >= before + 20)
    finally:
        ending.set()
        tapping.join()
    mine = [followed.event for followed in inside.read("interactions") if followed.key == name]
    place = next(at for at, event in enumerate(mine) if isinstance(event, Erasure))
    after = {event.event_id for event in mine[place:] if isinstance(event, Interaction)}
    assert place > 0
    assert after

    def counted() -> bool:
        activity = reader.viewer(name).activity
        return activity is not None and activity.events == len(after)

    inside.until(counted)


def test_an_erasure_of_nobody_counts_nothing(inside: Inside) -> None:
    _, answer = inside.ask("DELETE", "/v1/users/nobody-ever")
    assert answer["complete"], answer
    assert {store["purged"] for store in answer["stores"]} == {0}


def test_a_video_that_was_taken_down_is_found_in_no_store(inside: Inside, shared_data: Path) -> None:
    name, title = "clip-Vx9-to-be-taken-down", "Kittens-Lm4 play with a ball"
    upload(inside, name, title, shared_data / "clips" / "cog_kitten.mp4")
    inside.until(lambda: inside.ask("GET", f"/v1/videos/{name}")[1].get("stage") == "frames")
    poster = urllib.request.Request(f"{inside.house.running.url}/v1/videos/{name}/poster", headers={"X-API-Key": KEY})
    urllib.request.urlopen(poster, timeout=30).close()
    tap = {"user_id": "fan", "video_id": name, "action": "like"}
    assert inside.ask("POST", "/v1/interactions", tap)[0] == 202
    inside.until(lambda: name in inside.table("video-stats"))
    inside.until(lambda: logged(inside, "feature_log", "video_id", name))
    assert name in inside.table("perceptions")
    assert inside.redis_holds(title)
    assert inside.files_with(name, "media")
    inside.until(lambda: inside.files_with(title, "recovery"))

    status, answer = inside.ask("DELETE", f"/v1/videos/{name}?reason=rights")
    assert status == 200
    assert answer["complete"], answer
    counts = {store["store"]: store["purged"] for store in answer["stores"] if store["status"] == "purged"}
    assert set(counts) == {"memory of this API node", "dead-letters topic", *VIDEO_STORES}
    assert all(count > 0 for store, count in counts.items() if store != "dead-letters topic"), counts

    assert inside.ask("GET", f"/v1/videos/{name}")[0] == 410
    assert inside.ask("GET", f"/v1/videos/{name}/media")[0] == 410
    assert inside.ask("GET", f"/v1/videos/{name}/poster")[0] == 410
    assert inside.redis_holds(title) == []
    assert name not in inside.table("perceptions")
    assert name not in inside.table("video-stats")
    assert logged(inside, "feature_log", "video_id", name) == 0
    assert inside.files_with(name, "media", "posters") == set()
    assert inside.files_with(title, "feature_log", "media", "posters") == set()
    inside.until(lambda: not inside.files_with(title, "recovery"), within_s=90.0)
    # A late tap brings nothing back.
    assert inside.ask("POST", "/v1/interactions", tap | {"event_id": "late"})[0] == 202
    inside.until(lambda: any(getattr(one.event, "event_id", "") == "late" for one in inside.read("interactions")))
    assert name not in inside.table("video-stats")


def upload(inside: Inside, video_id: str, title: str, clip: Path) -> None:
    """Send a clip as a form, as a browser does."""
    mark = b"----of-a-test"
    fields = {"video_id": video_id, "author_id": "cat-person", "title": title}
    parts = [
        b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (mark, key.encode(), value.encode())
        for key, value in fields.items()
    ]
    head = b'--%s\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\nContent-Type: video/mp4\r\n\r\n' % mark
    body = b"".join([*parts, head, clip.read_bytes(), b"\r\n--%s--\r\n" % mark])
    headers = {"Content-Type": f"multipart/form-data; boundary={mark.decode()}", "X-API-Key": KEY}
    asked = urllib.request.Request(inside.house.running.url + "/v1/uploads", body, headers)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert answer.status == 202
