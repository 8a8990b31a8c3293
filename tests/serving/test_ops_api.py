"""What operators are told over HTTP, on a node without servers, and what Prometheus is, against its documentation."""

import asyncio
import json
import re
from pathlib import Path

import httpx
import pytest

from serving.api import create_app
from serving.experiments.settings import ExperimentSettings
from serving.ops.probes import Answer, Probe
from serving.purges import USER_STORES
from streams.events import DeadLetter, Heartbeat, ModelState, Purged, Supervised
from streams.follower import Followed
from streams.topics import DEAD_LETTERS, HEARTBEATS, PURGES
from tests.serving.test_experiment_analysis import EXPERIMENT, page

pytestmark = pytest.mark.anyio
DOCUMENTED = Path(__file__).parents[2] / "docs" / "metrics.md"


def client(world) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(world.node)), base_url="http://localhost")


def heard(world, process: str, *, at: int, pid: int = 1, **more) -> None:
    beat = Heartbeat(process=process, instance=f"host:{pid}", started_at=world.now - 60_000, at=at, **more)
    world.node.ops.follow([Followed(HEARTBEATS, process, beat, at)])


class BrokerInMemory:
    def __init__(self, **ends: int) -> None:
        self.known = {name.replace("_", "-"): {0: end} for name, end in ends.items()}

    def ends(self) -> dict[str, dict[int, int]]:
        return self.known

    def beginnings(self) -> dict[str, dict[int, int]]:
        return {}


def busy_node(world) -> None:
    """Let the node hear of everything that there is to tell of."""
    children = (Supervised(name="redis", pid=3, restarts=2, rss_bytes=9_000_000), Supervised(name="flow-profile", pid=1))
    positions = {"interactions": {"0": 90}}
    heard(world, "supervisor", at=world.now, pid=9, children=children, rss_bytes=1)
    heard(world, "flow-profile", at=world.now, positions=positions, freshness_ms=(8.0, 20.0), rss_bytes=5, cpu_share=0.5)
    counters = {"step/read/late": 1, "step_ms/glance": 1500, "encoder/text_encoder/ok": 7, "encoder_ms/text_encoder": 250}
    heard(world, "flow-perceive", at=world.now, counters=counters)
    counters = {"agent_plan/made": 3, "agent_plan_ms": 4500, "agent/answered": 60, "agent_tokens/asked": 9000}
    counters |= {"agent_adapter/refused": 1, "agent_swap_ms": 120}
    models = (ModelState("agent", "v1", world.now - 120_000, refused="v2: expected a rank of at most 16, got 32"),)
    heard(world, "flow-rerank", at=world.now, counters=counters, models=models)
    heard(world, "api", at=world.now, pid=7, rss_bytes=6)
    letter = DeadLetter(origin="uploads", partition=0, offset=1, reason="r", payload=b"{", failed_at=world.now, flow="perceive")
    world.node.ops.follow([Followed(DEAD_LETTERS, letter.letter_id, letter, world.now)])
    world.put_stats("cooking-0", impressions=3.0, total_impressions=3)
    world.node.ops.offsets(BrokerInMemory(interactions=100, slates=5))()
    world.now += 500
    world.node.ops.tick({"broker": Answer(True, "answers", 1.5), "redis": Answer(False, "refused", None)})


async def test_operators_see_which_adapter_of_the_agent_serves_and_why_another_does_not(world):
    busy_node(world)
    async with client(world) as http:
        view = (await http.get("/v1/ops")).json()
        metrics = (await http.get("/metrics")).text
    agent = next(server for server in view["servers"] if server["name"] == "agent")
    assert not agent["ok"]
    assert agent["detail"] == "v1, loaded 2 min ago; refused v2: expected a rank of at most 16, got 32"
    for line in (
        'headwater_agent_plans_total{outcome="made"} 3.0',
        "headwater_agent_plan_seconds_total 4.5",
        'headwater_agent_decisions_total{outcome="answered"} 60.0',
        'headwater_agent_tokens_total{kind="asked"} 9000.0',
        'headwater_agent_adapters_total{outcome="refused"} 1.0',
        "headwater_agent_swap_seconds_total 0.12",
    ):
        assert line in metrics


async def test_the_view_has_every_flow_server_and_topic(world):
    busy_node(world)
    async with client(world) as http:
        view = (await http.get("/v1/ops")).json()
    flows = {flow["name"]: flow for flow in view["flows"]}
    assert set(flows) == {"perceive", "profile", "rerank", "feedback"}
    assert (flows["profile"]["state"], flows["profile"]["lag_events"], flows["profile"]["freshness_p99_ms"]) == (
        "running",
        10,
        20.0,
    )
    assert flows["perceive"]["dead_letters"] == 1
    servers = {server["name"]: server for server in view["servers"]}
    assert set(servers) == {"broker", "redis", "api", "supervisor", "agent"}
    assert (servers["redis"]["ok"], servers["redis"]["restarts"], servers["redis"]["detail"]) == (False, 2, "refused")
    assert (servers["broker"]["ok"], servers["broker"]["answered_ms"], servers["broker"]["restarts"]) == (True, 1.5, None)
    assert {topic["name"]: topic["events"] for topic in view["topics"]} == {"interactions": 100, "slates": 5}
    assert (view["supervised"], view["dead_letters_open"], view["sse_clients"]) == (True, 1, 0)


async def test_the_history_has_a_value_a_second_of_every_series(world):
    heard(world, "flow-profile", at=world.now - 5_000, freshness_ms=(7.0, 9.0), events={"interactions": 40}, rss_bytes=5)
    busy_node(world)
    async with client(world) as http:
        history = (await http.get("/v1/ops/history")).json()
    at, series = history["at"], history["series"]
    assert at == list(range(at[0], at[-1] + 1, 1000))
    assert {len(values) for values in series.values()} == {len(at)}
    # Of the time before this node ran, heartbeats still tell.
    assert (series["freshness_p50_ms"][0], series["events_per_s.interactions"][0]) == (7.0, 40.0)
    assert (series["freshness_p99_ms"][-1], series["lag_events.profile"][-1], series["restarts.redis"][-1]) == (20.0, 10.0, 2.0)
    assert (series["rss_bytes.profile"][-1], series["rss_bytes.redis"][-1], series["catalogue_videos"][-1]) == (
        5,
        9_000_000,
        60,
    )


async def test_the_stream_begins_with_the_newest_view_and_goes_on_each_second(world):
    got: asyncio.Queue[dict] = asyncio.Queue()
    asked = False

    async def receive() -> dict:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    async def sample() -> dict:
        while True:
            body = (await asyncio.wait_for(got.get(), 20)).get("body", b"").decode()
            if "event: sample" in body:
                return json.loads(re.search(r"^data: (.*)$", body, re.MULTILINE)[1])

    path = "/v1/ops/stream"
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
             "headers": [(b"host", b"localhost")], "http_version": "1.1", "scheme": "http", "server": ("test", 80),
             "client": ("127.0.0.1", 1)}  # fmt: skip
    serving = asyncio.create_task(create_app(world.node)(scope, receive, got.put))
    try:
        assert (await sample())["values"]["catalogue_videos"] == 60.0
        assert world.node.streams.open == 1
        world.now += 1_000
        # It listens once it has the first.
        deadline = asyncio.get_running_loop().time() + 20
        while not len(world.node.ops.samples):
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0)
        world.node.ops.tick({})
        second = await sample()
        assert (second["view"]["at"], second["view"]["sse_clients"]) == (world.now, 1)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    assert world.node.streams.open == 0


async def test_purges_are_told_of_with_their_proofs(world):
    proofs = [
        Purged(cause="e1", subject="user", subject_id="kim", store=store, count=2, purged_at=world.now) for store in USER_STORES
    ]
    world.node.ops.follow([Followed(PURGES, "kim", proof, world.now) for proof in proofs[1:]])
    # Proven once more after a crash: it found nothing left, and the first count stands.
    again = Purged(cause="e1", subject="user", subject_id="kim", store=USER_STORES[1], count=0, purged_at=world.now + 9)
    world.node.ops.follow([Followed(PURGES, "kim", again, world.now)])
    async with client(world) as http:
        (pending,) = (await http.get("/v1/purges")).json()
        assert (pending["subject"], pending["subject_id"], pending["complete"]) == ("user", "kim", False)
        assert {store["store"]: store["status"] for store in pending["stores"]}[USER_STORES[0]] == "pending"
        assert {store["store"]: store["purged"] for store in pending["stores"]}[USER_STORES[1]] == 2
        world.node.ops.follow([Followed(PURGES, "kim", proofs[0], world.now)])
        (done,) = (await http.get("/v1/purges")).json()
    assert done["complete"] is True
    assert world.node.ops.purges.pending() == 0


async def test_experiments_are_told_of_and_erased_viewers_leave_them(build):
    world = build(experiments=ExperimentSettings(running=[EXPERIMENT]))
    world.node.experiments.follow([page("ann", "fresher=fresh", at=world.now), page("bob", "fresher=fresh", at=world.now)])

    async def viewers() -> list[int]:
        async with client(world) as http:
            (experiment,) = (await http.get("/v1/ops")).json()["experiments"]
        return [arm["viewers"] for arm in experiment["arms"]]

    assert await viewers() == [0, 2]
    async with client(world) as http:
        await http.delete("/v1/users/ann")
    assert [arm.viewers for arm in world.node.experiments.views()[0].arms] == [0, 1]


async def test_everything_here_is_for_administrators(build):
    world = build(keys=[{"key": "feed-key-0123456789", "scopes": ["feed", "ingest"]}])
    paths = (
        "/v1/ops",
        "/v1/ops/history",
        "/v1/ops/learning",
        "/v1/ops/stream",
        "/v1/dead-letters",
        "/v1/dead-letters/a/0/1",
        "/v1/purges",
    )
    async with client(world) as http:
        for path in paths:
            assert (await http.get(path)).status_code == 401
            assert (await http.get(path, headers={"X-API-Key": "feed-key-0123456789"})).status_code == 403
        answer = await http.post("/v1/dead-letters/a/0/1/replay", headers={"X-API-Key": "feed-key-0123456789"})
        assert answer.status_code == 403


def test_a_server_that_does_not_answer_holds_nobody_up():
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event

    hangs, now = Event(), 0.0
    probe = Probe("redis", hangs.wait, monotonic=lambda: now)
    with ThreadPoolExecutor(1) as threads:
        assert probe.look(threads).detail == "not asked yet"
        now = 5.0
        assert probe.look(threads) == Answer(False, "no answer for 5 s", None)
        hangs.set()
        while not probe.look(threads).ok:
            pass

    def refuse() -> None:
        raise ConnectionError("Redis does not answer: refused")

    refused = Probe("redis", refuse)
    with ThreadPoolExecutor(1) as threads:
        while refused.look(threads).detail == "not asked yet":
            pass
        assert refused.look(threads).detail == "Redis does not answer: refused"


# ── Prometheus ───────────────────────────────────────────────────────────────────────────────────────────────────────


def documented() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the table's metrics: their type and labels by name."""
    rows = re.findall(r"^\| `(headwater_\w+)` \| (\w+) \|([^|]*)\| [^|]+ \|$", DOCUMENTED.read_text(), re.MULTILINE)
    return {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def told(text: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the answer's metrics in the same form; a histogram's buckets are its own affair."""
    kinds = dict(re.findall(r"^# TYPE (headwater_\w+) (\w+)$", text, re.MULTILINE))
    found = {}
    for name, kind in kinds.items():
        sample = re.search(rf"^{name}(?:_count)?(?:\{{([^}}]*)\}})? ", text, re.MULTILINE)
        labels = () if sample is None or sample[1] is None else tuple(re.findall(r'(\w+)="', sample[1]))
        found[name] = (kind, tuple(sorted(labels)))
    return found


async def test_every_metric_is_documented_and_every_documented_one_is_told(build):
    world = build(experiments=ExperimentSettings(running=[EXPERIMENT]))
    world.put(*(world.perception(f"cooking-{number}") for number in range(12)))
    busy_node(world)
    async with client(world) as http:
        await http.get("/v1/feed", params={"user_id": "u"})
        like = {"user_id": "u", "video_id": "cooking-0", "action": "like"}
        await http.post("/v1/interactions", json=like)
        text = (await http.get("/metrics")).text
    expected = {name: (kind, tuple(sorted(labels))) for name, (kind, labels) in documented().items()}
    assert told(text) == expected
    assert 'headwater_experiment_viewers{arm="fresh",experiment="fresher"} 0.0' in text
    assert 'headwater_perception_steps_total{outcome="late",step="read"} 1.0' in text
    assert 'headwater_perception_step_seconds_total{step="glance"} 1.5' in text
    assert 'headwater_encoder_requests_total{flow="perceive",model="text_encoder",outcome="ok"} 7.0' in text
