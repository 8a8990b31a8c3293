"""Which requests are traced, and what the API tells of those that are."""

import httpx
import pytest

from serving.api import create_app
from serving.sampling import Sampling
from streams.events import Plan
from streams.follower import Followed
from streams.settings import TelemetrySettings
from streams.topics import INTERACTIONS, PLANS, SLATES, UPLOADS
from streams.trace_context import is_sampled, parse
from streams.tracing import open_tracer

TRACE_ID, CLIENT = "a" * 32, "b" * 16
SAMPLED, UNSAMPLED = f"00-{TRACE_ID}-{CLIENT}-01", f"00-{TRACE_ID}-{CLIENT}-00"
LIKE = {"user_id": "u", "video_id": "v", "action": "like"}


def test_what_a_client_asks_for_is_kept():
    sampling = Sampling(TelemetrySettings())
    assert sampling.context(SAMPLED) == SAMPLED
    assert sampling.context(UNSAMPLED) == UNSAMPLED


@pytest.mark.parametrize("given", [None, "", "nonsense", SAMPLED.upper(), SAMPLED + "\n"])
def test_a_request_that_asks_for_nothing_gets_a_context_of_its_own_that_is_not_sampled(given):
    sampling = Sampling(TelemetrySettings())
    made = {sampling.context(given) for _ in range(100)}
    assert len(made) == 100
    assert all(parse(trace) and not is_sampled(trace) for trace in made)


def test_of_fifty_taps_in_a_second_only_so_many_are_traced_as_are_allowed():
    sampling = Sampling(TelemetrySettings(max_sampled_per_s=20))
    traced = [is_sampled(sampling.context(SAMPLED)) for _ in range(50)]
    assert traced[:20] == [True] * 20
    # A slow machine may have let a second pass in between.
    assert traced.count(True) <= 40
    assert not any(is_sampled(Sampling(TelemetrySettings(max_sampled_per_s=0)).context(SAMPLED)) for _ in range(3))


def test_a_share_of_the_rest_is_traced_where_a_collector_wants_it():
    draws = iter([0.005, 0.5, 0.005, 0.5])
    with_collector = TelemetrySettings(otlp_endpoint="http://collector:4318/v1/traces", sample_share=0.01)
    sampling = Sampling(with_collector, lambda: next(draws))
    assert [is_sampled(sampling.context(None)) for _ in range(4)] == [True, False, True, False]
    assert not is_sampled(sampling.context(UNSAMPLED))
    assert not is_sampled(Sampling(TelemetrySettings(sample_share=1.0)).context(None))


class Sent(list):
    """A broker for spans, in a list."""

    def send(self, _topic, span):
        self.append(span)


@pytest.fixture
def traced(world):
    """The world with a tracer, and what it told."""
    sent = Sent()
    world.node.tracer = open_tracer("api", TelemetrySettings(), sent)
    return world, sent


def client(world, trace):
    transport = httpx.ASGITransport(create_app(world.node), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers={"traceparent": trace})


@pytest.mark.anyio
async def test_a_sampled_tap_a_page_and_an_upload_are_told_of_and_their_events_carry_their_spans(traced):
    world, sent = traced
    async with client(world, SAMPLED) as http:
        await http.post("/v1/interactions", json=[LIKE | {"action": "play"}, LIKE])
        await http.post("/v1/instructions", json={"user_id": "u", "text": "more cooking"})
        page = (await http.get("/v1/feed", params={"user_id": "u"})).json()
        await http.post("/v1/uploads", json={"video_id": "new", "author_id": "ann", "title": "New"})
    tap, wish, feed, upload = sent
    assert [span.name for span in sent] == ["tap", "tap", "feed", "upload"]
    assert {(span.trace_id, span.parent_id, span.process) for span in sent} == {(TRACE_ID, CLIENT, "api")}
    assert [span.user_id for span in sent] == ["u", "u", "u", "ann"]
    assert tap.attributes == {"action": "play, like", "video_id": "v", "events": "2"}
    assert wish.attributes == {"action": "instruction"}
    assert feed.attributes["items"] == str(len(page["items"]))
    assert feed.attributes["as_of"] == str(page["as_of"])
    assert feed.attributes["reasons"] == "; ".join(item["reason"] for item in page["items"][:3])
    carried = {topic: trace for topic, _, trace in world.published.events}
    for topic, span in ((INTERACTIONS, wish), (SLATES, feed), (UPLOADS, upload)):
        assert parse(carried[topic]) == (TRACE_ID, span.span_id)


@pytest.mark.anyio
async def test_requests_that_are_not_sampled_are_told_of_to_nobody(traced):
    world, sent = traced
    async with client(world, UNSAMPLED) as http:
        await http.post("/v1/interactions", json=LIKE)
        await http.get("/v1/feed", params={"user_id": "u"})
    assert sent == []
    assert {trace for _, _, trace in world.published.events} == {UNSAMPLED}


@pytest.mark.anyio
async def test_a_tap_that_the_broker_did_not_take_is_told_of_as_failed(traced):
    world, sent = traced
    world.published.full = True
    async with client(world, SAMPLED) as http:
        assert (await http.post("/v1/interactions", json=LIKE)).status_code == 503
    assert sent[0].attributes["error"] == "ApiError"


@pytest.mark.anyio
async def test_a_plan_is_told_of_when_this_node_has_it(traced):
    world, sent = traced
    plan = Plan(user_id="u", trigger="skip streak", created_at=world.now, expires_at=world.now + 1000)
    world.node.follow_plans([Followed(PLANS, "u", plan, world.now, trace=trace) for trace in (SAMPLED, UNSAMPLED, None)])
    (span,) = sent
    assert (span.name, span.user_id, span.attributes["trigger"]) == ("plan.received", "u", "skip streak")
    assert world.node.feed.plans.of("u", now_ms=world.now) == plan
