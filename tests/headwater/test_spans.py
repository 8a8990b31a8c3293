"""A tap's way through a real house, as the page that sent it is told of it; and a new video's, to its first impression."""

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from simulation.clips import installed
from tests.conftest import RunningHouse

pytestmark = pytest.mark.stack
DEADLINE_S = 60.0


def until(done: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@contextmanager
def following(url: str) -> Iterator[list[dict[str, Any]]]:
    """Give a list to which the events of a stream are added as they come."""
    heard: list[dict[str, Any]] = []
    opened = threading.Event()
    with httpx.stream("GET", url, timeout=None) as answer:

        def read() -> None:
            try:
                for line in answer.iter_lines():
                    opened.set()
                    if line.startswith("data: "):
                        heard.append(json.loads(line.removeprefix("data: ")))
            except (httpx.ReadError, httpx.StreamClosed):
                pass

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        assert opened.wait(DEADLINE_S)
        yield heard


def context(*, sampled: bool) -> tuple[str, dict[str, str]]:
    trace_id = secrets.token_hex(16)
    return trace_id, {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-{'01' if sampled else '00'}"}


@pytest.fixture
def http(house: RunningHouse) -> Iterator[httpx.Client]:
    """A client of the house, which has a few videos to show."""
    with httpx.Client(base_url=house.url, timeout=30.0) as client:
        for n in range(8):
            video = {"video_id": f"traced-{n}", "author_id": f"author-{n % 3}", "title": f"Noodles in {n} minutes"}
            assert client.post("/v1/uploads", json=video).status_code == 202
        until(lambda: client.get("/v1/videos/traced-7").status_code == 200)
        yield client


def test_a_sampled_like_is_followed_from_the_tap_to_the_next_page(house: RunningHouse, http: httpx.Client):
    trace_id, sampled = context(sampled=True)
    _, unsampled = context(sampled=False)
    like = {"user_id": "tracy", "video_id": "traced-0", "action": "like"}
    with following(f"{house.url}/v1/users/tracy/spans") as heard:
        assert http.post("/v1/interactions", json=like, headers=unsampled).status_code == 202
        assert http.get("/v1/feed", params={"user_id": "tracy"}, headers=unsampled).status_code == 200
        assert http.post("/v1/interactions", json=like, headers=sampled).status_code == 202
        until(lambda: "profile.write" in {span["name"] for span in heard})
        page = http.get("/v1/feed", params={"user_id": "tracy"}, headers=sampled).json()
        until(lambda: "feed" in {span["name"] for span in heard})
    assert {span["trace_id"] for span in heard} == {trace_id}
    assert {span["user_id"] for span in heard} == {"tracy"}
    spans = {span["name"]: span for span in heard}
    tap, feed = spans["tap"], spans["feed"]
    assert (tap["process"], tap["attributes"]["action"], tap["attributes"]["video_id"]) == ("api", "like", "traced-0")
    assert feed["attributes"]["items"] == str(len(page["items"]))
    assert feed["attributes"]["reasons"].startswith(page["items"][0]["reason"])
    client_span = sampled["traceparent"].split("-")[2]
    assert tap["parent_id"] == feed["parent_id"] == client_span
    flow = [spans[name] for name in ("profile.read", "profile.update", "profile.write")]
    for span in flow:
        assert (span["parent_id"], span["process"]) == (tap["span_id"], "flow-profile")
    starts = [span["started_at"] for span in (*flow, feed)]
    assert starts == sorted(starts)
    # The broker's clock counts whole milliseconds.
    assert tap["started_at"] - 1.0 <= flow[0]["started_at"]


def test_an_instruction_is_followed_to_the_plan_that_this_node_received(house: RunningHouse, http: httpx.Client):
    assert http.get("/v1/feed", params={"user_id": "rita"}).status_code == 200
    trace_id, sampled = context(sampled=True)
    wish = {"user_id": "rita", "text": "more cooking"}
    with following(f"{house.url}/v1/users/rita/spans") as heard:
        assert http.post("/v1/instructions", json=wish, headers=sampled).status_code == 202
        until(lambda: "plan.received" in {span["name"] for span in heard})
    spans = {span["name"]: span for span in heard if span["trace_id"] == trace_id}
    assert spans["rerank.plan"]["attributes"]["trigger"] == "instruction"
    assert spans["rerank.plan"]["parent_id"] == spans["tap"]["span_id"]
    assert spans["plan.received"]["parent_id"] == spans["rerank.plan"]["span_id"]
    assert spans["plan.received"]["process"] == "api"


def test_a_clip_is_followed_to_its_first_impression_and_its_trace_through_perception(house: RunningHouse, http: httpx.Client):
    clip = installed()[0]
    trace_id, sampled = context(sampled=True)
    with following(f"{house.url}/v1/users/clara/spans") as heard:
        with clip.path.open("rb") as file:
            form = {"author_id": "clara", "title": "A clip", "video_id": "traced-clip"}
            assert http.post("/v1/uploads", data=form, files={"file": file}, headers=sampled).status_code == 202
        until(lambda: "perceive.frames" in {span["name"] for span in heard})
    spans = {span["name"]: span for span in heard if span["trace_id"] == trace_id}
    assert spans["perceive.title"]["parent_id"] == spans["perceive.frames"]["parent_id"] == spans["upload"]["span_id"]
    with following(f"{house.url}/v1/videos/traced-clip/progress") as steps:
        seen = {"user_id": "tom", "video_id": "traced-clip", "action": "impression"}
        assert http.post("/v1/interactions", json=seen).status_code == 202
        until(lambda: {"accepted", "title", "frames", "first_impression"} <= {step["step"] for step in steps})
    times = {step["step"]: step["since_accepted_ms"] for step in steps}
    assert times["accepted"] == 0
    assert times["title"] <= times["frames"] <= times["first_impression"]
    still = http.get("/v1/videos/traced-clip/poster")
    assert still.headers["content-type"] == "image/jpeg"


def test_more_sampled_taps_than_are_allowed_are_accepted_and_not_traced(house: RunningHouse, http: httpx.Client):
    contexts = [context(sampled=True) for _ in range(200)]
    with following(f"{house.url}/v1/users/many/spans") as heard:
        began = time.monotonic()
        answers = [
            http.post("/v1/interactions", json={"user_id": "many", "video_id": "traced-0", "action": "play"}, headers=headers)
            for _, headers in contexts
        ]
        took_s = time.monotonic() - began
        traced = [answer for answer in answers if answer.headers["traceparent"].endswith("-01")]
        until(lambda: sum(span["name"] == "profile.write" for span in heard) >= len(traced))
    assert {answer.status_code for answer in answers} == {202}
    # Twenty a second, and so many that were saved up.
    assert 20 <= len(traced) <= 20 * (took_s + 1) + 1
    assert sum(span["name"] == "tap" for span in heard) == len(traced)
