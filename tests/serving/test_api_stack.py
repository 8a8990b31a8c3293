"""The API against the real broker and feature store."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from msgspec.structs import replace

from serving.experiments.settings import ExperimentSettings
from serving.purges import USER_STORES
from serving.server import application
from streams.events import Erasure, Feedback, Interaction, Outcome, Purged, Slate
from streams.follower import Followed, Follower
from streams.kafka import EventProducer
from streams.topics import FEEDBACK, INTERACTIONS, PERCEPTIONS, PURGES, SLATES

pytestmark = [pytest.mark.stack, pytest.mark.anyio]


@asynccontextmanager
async def serving(stack, experiments: ExperimentSettings | None = None) -> AsyncIterator[httpx.AsyncClient]:
    settings = stack.settings
    rooms = settings.api, settings.feed, settings.kafka, settings.features, settings.media
    with application(*rooms, experiments=experiments) as app:
        async with app.router.lifespan_context(app), httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as http:  # fmt: skip
            await until(lambda: ready(http))
            yield http


async def ready(http: httpx.AsyncClient) -> bool:
    return (await http.get("/readyz")).status_code == 200


async def until(holds, *, within_s: float = 20.0) -> None:
    """Return once `holds()` does, or fail."""
    deadline = time.monotonic() + within_s
    while not await holds():
        assert time.monotonic() < deadline, f"not within {within_s:g} s"
        await asyncio.sleep(0.02)


@pytest.fixture
def follow(stack):
    """Return a function that collects what comes on a topic."""
    followers: list[Follower] = []

    def collect(topic, handle: Callable[[Followed], None] | None = None) -> list[Followed]:
        got: list[Followed] = []

        def take(batch):
            got.extend(batch)
            for followed in batch:
                if handle is not None:
                    handle(followed)

        followers.append(Follower(stack.settings.kafka, [topic], take, name=f"test-{topic.name}").start(timeout_s=20.0))
        return got

    yield collect
    for follower in followers:
        follower.close()


async def test_202_means_that_the_broker_has_it(stack, follow):
    got = follow(INTERACTIONS)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with serving(stack) as http:
        batch = [{"user_id": "s1", "video_id": f"v{n}", "action": "play"} for n in range(50)]
        answer = await http.post("/v1/interactions", json=batch, headers={"traceparent": trace})
    assert answer.status_code == 202

    async def arrived():
        return len([f for f in got if isinstance(f.event, Interaction) and f.key == "s1"]) == 50

    await until(arrived)


async def test_a_perceived_video_is_served_and_a_takedown_is_gone_at_the_next_request(stack, follow, world):
    slates = follow(SLATES)
    producer = EventProducer(stack.settings.kafka)
    perceived = world.perception("stack-video", "music")
    perceived = replace(perceived, video=replace(perceived.video, uploaded_at=int(time.time() * 1000)))
    producer.send(PERCEPTIONS, perceived)
    producer.flush(10.0)
    async with serving(stack) as http:

        async def shown(user_id="s2"):
            page = (await http.get("/v1/feed", params={"user_id": user_id})).json()
            return "stack-video" in [item["video_id"] for item in page["items"]]

        await until(shown)
        assert (await http.delete("/v1/videos/stack-video")).status_code == 200
        assert not await shown("s3")
        # Perceived once more, by a flow that had not heard of the takedown: it stays away.
        producer.send(PERCEPTIONS, perceived)
        producer.flush(10.0)
        assert not await shown("s4")
        assert (await http.get("/v1/videos/stack-video")).status_code == 410
    producer.tombstone(PERCEPTIONS, "stack-video")
    producer.close()

    async def slate_arrived():
        return any(isinstance(f.event, Slate) and f.key == "s2" for f in slates)

    await until(slate_arrived)


async def test_an_erasure_waits_for_the_proofs_of_the_flows(stack, follow):
    producer = EventProducer(stack.settings.kafka)

    def prove(followed: Followed) -> None:
        if isinstance(followed.event, Erasure):
            for store in USER_STORES:
                proof = Purged(
                    cause=followed.event.event_id,
                    subject="user",
                    subject_id=followed.key,
                    store=store,
                    count=1,
                    purged_at=followed.appended_at,
                )
                producer.send(PURGES, proof)

    follow(INTERACTIONS, prove)
    async with serving(stack) as http:
        answer = (await http.delete("/v1/users/s5")).json()
    producer.close()
    assert answer["complete"], answer
    assert {store["store"] for store in answer["stores"] if store["status"] == "purged"} >= set(USER_STORES)


async def test_a_body_past_the_bound_and_a_bad_event_leave_nothing_in_the_broker(stack, follow):
    got = follow(INTERACTIONS)
    async with serving(stack) as http:
        large = await http.post("/v1/interactions", content=b" " * (stack.settings.api.max_body_bytes + 1))
        bad = await http.post(
            "/v1/interactions",
            json=[{"user_id": "s6", "video_id": "v", "action": "like"}, {"user_id": "s6", "video_id": "v", "action": "wink"}],
        )
        assert (await http.post("/v1/interactions", json={"user_id": "s7", "video_id": "v", "action": "like"})).is_success
    assert (large.status_code, bad.status_code) == (413, 422)
    assert bad.json()["error"]["index"] == 1

    async def good_arrived():
        return any(f.key == "s7" for f in got)

    await until(good_arrived)
    assert not any(f.key == "s6" for f in got)


async def test_what_came_of_an_experiment_is_followed_and_an_erased_viewer_is_not_counted_again_by_the_next_node(stack):
    arms = [{"name": "control", "share": 0.5}, {"name": "fresh", "share": 0.5}]
    experiments = ExperimentSettings.model_validate({"running": [{"name": "fresher", "arms": arms}]})
    place = Outcome(
        video_id="v", position=0, propensity=1.0, source="fresh", actions=("impression",), watch_ms=0, reward=0.0, parts={}
    )
    producer = EventProducer(stack.settings.kafka)
    for user, arm in (("kept", "fresh"), ("erased", "fresh"), ("other", "control")):
        made = Feedback(request_id=f"x-{user}", user_id=user, items=(place,), served_at=1, closed_at=2, arm=f"fresher={arm}")
        producer.send(FEEDBACK, made)
    assert producer.close() == 0

    def counted(*viewers: int):
        async def holds() -> bool:
            (experiment,) = (await http.get("/v1/ops")).json()["experiments"]
            return [arm["viewers"] for arm in experiment["arms"]] == list(viewers)

        return holds

    async with serving(stack, experiments) as http:
        await until(counted(1, 2))
    proof = Purged(cause="x", subject="user", subject_id="erased", store="feedback log", count=1, purged_at=3)
    producer = EventProducer(stack.settings.kafka)
    producer.send(PURGES, proof)
    assert producer.close() == 0
    async with serving(stack, experiments) as http:
        await until(counted(1, 1))


async def test_a_follower_begins_where_it_is_told_to(stack, follow):
    heard = follow(SLATES)

    async def sent(request_id: str) -> Followed:
        producer = EventProducer(stack.settings.kafka)
        producer.send(SLATES, Slate(request_id=request_id, user_id="late", items=(), served_at=1))
        assert producer.close() == 0

        async def came() -> bool:
            return any(each.event.request_id == request_id for each in heard)

        await until(came)
        return next(each for each in heard if each.event.request_id == request_id)

    before = await sent("before")

    async def is_later() -> bool:
        return time.time_ns() // 1_000_000 > before.appended_at + 1

    await until(is_later)
    await sent("after")
    got: list[Followed] = []
    settings = stack.settings.kafka
    late = Follower(settings, [SLATES], got.extend, from_ms=before.appended_at + 1, name="late").start(timeout_s=20.0)
    late.close()
    assert [each.event.request_id for each in got if each.key == "late"] == ["after"]
