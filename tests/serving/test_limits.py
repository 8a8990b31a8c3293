"""How often is too often: for a key and for a viewer, and for nobody else."""

import httpx
import pytest

from serving.api import create_app
from serving.limits import REMEMBERED, Rate

pytestmark = pytest.mark.anyio
KEYS = [{"key": "the-key-of-an-app", "scopes": ["ingest", "feed"]}, {"key": "another-apps-key", "scopes": ["ingest", "feed"]}]


def client(world, **headers):
    transport = httpx.ASGITransport(create_app(world.node), client=("203.0.113.7", 4711))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


def taps(user_id: str, count: int) -> list[dict[str, str]]:
    return [{"user_id": user_id, "video_id": f"cooking-{n % 12}", "action": "play"} for n in range(count)]


async def test_a_viewers_events_past_the_bound_are_a_429_that_says_how_long_to_wait(build):
    world = build(user_events_per_minute=60)
    async with client(world) as http:
        assert (await http.post("/v1/interactions", json=taps("fast", 60))).status_code == 202
        refused = await http.post("/v1/interactions", json=[*taps("slow", 2), *taps("fast", 3)])
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) in range(1, 4)
        error = refused.json()["error"]
        assert (error["type"], error["field"], error["index"]) == ("too-many", "user_id", 2)
        assert "60 events a minute" in error["bound"]
        # One who does too much costs nobody else anything: the same without theirs is welcome.
        assert (await http.post("/v1/interactions", json=taps("slow", 2))).status_code == 202
        assert (await http.post("/v1/instructions", json={"user_id": "fast", "text": "more cooking"})).status_code == 429
    assert len(world.published.events) == 62


async def test_a_viewers_pages_past_the_bound_are_a_429_and_others_behind_the_same_address_go_on(build):
    world = build(user_pages_per_minute=3)
    async with client(world) as http:
        answers = [(await http.get("/v1/feed", params={"user_id": "fast"})).status_code for _ in range(5)]
        assert answers == [200, 200, 200, 429, 429]
        assert [(await http.get("/v1/feed", params={"user_id": f"u{n}"})).status_code for n in range(50)] == [200] * 50


async def test_a_keys_requests_past_the_bound_are_a_429_and_another_key_goes_on(build):
    world = build(keys=KEYS, key_requests_per_s=1)
    async with client(world, **{"X-API-Key": KEYS[0]["key"]}) as http:
        answers = [await http.get("/v1/feed", params={"user_id": f"u{n}"}) for n in range(12)]
        assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 2
        assert answers[-1].headers["Retry-After"] == "1"
        assert "this key" in answers[-1].json()["error"]["message"]
        other = await http.get("/v1/feed", params={"user_id": "u"}, headers={"X-API-Key": KEYS[1]["key"]})
        assert other.status_code == 200


async def test_without_keys_nobody_shares_a_limit(build):
    world = build(key_requests_per_s=1)
    async with client(world) as http:
        answers = [(await http.get("/v1/feed", params={"user_id": f"u{n}"})).status_code for n in range(100)]
    assert answers == [200] * 100


def test_what_was_saved_up_comes_back_with_time():
    now = [0.0]
    rate = Rate(2.0, 10.0, monotonic=lambda: now[0])
    for _ in range(10):
        assert rate.wait_s("a") == 0.0
        rate.take("a")
    assert rate.wait_s("a") == pytest.approx(0.5)
    assert rate.wait_s("b") == 0.0
    now[0] = 0.5
    assert rate.wait_s("a") == 0.0
    assert rate.wait_s("a", 2) == pytest.approx(0.5)


def test_more_at_once_than_is_ever_saved_up_waits_and_is_not_refused_for_ever():
    now = [100.0]
    rate = Rate(1.0, 10.0, monotonic=lambda: now[0])
    assert rate.wait_s("a", 50) == 0.0
    rate.take("a", 50)
    assert rate.wait_s("a", 50) == pytest.approx(50.0)
    now[0] += 50.0
    assert rate.wait_s("a", 50) == 0.0


def test_names_without_end_cost_no_memory_without_end():
    rate = Rate(1.0, 1.0)
    for number in range(REMEMBERED + 1_000):
        rate.take(f"u{number}")
    assert len(rate) == REMEMBERED
