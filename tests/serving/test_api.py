import hashlib
import json
from pathlib import Path

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from serving.api import create_app
from serving.purges import USER_STORES, VIDEO_STORES
from serving.settings import ApiKey, ApiSettings
from streams.events import Erasure, Instruction, Interaction, LiveEnded, Purged, Takedown, Upload
from streams.follower import Followed
from streams.topics import INTERACTIONS, PURGES, UPLOADS

pytestmark = pytest.mark.anyio
DAY = 86_400_000
LIKE = {"user_id": "u", "video_id": "v", "action": "like"}


def client(world, **headers):
    transport = httpx.ASGITransport(create_app(world.node), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


def prove(world, stores, subject):
    """Make the world's broker answer an erasure as the flows do: one proof a store."""

    def answer(event):
        if isinstance(event, (Takedown, Erasure)):
            proofs = [
                Purged(cause=event.event_id, subject=subject, subject_id="x", store=store, count=2, purged_at=world.now)
                for store in stores
            ]
            world.node.purges.follow([Followed(PURGES, "x", proof, world.now) for proof in proofs])

    world.published.then = answer


# ── interactions ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_interaction_is_accepted_and_gets_an_id_and_a_time(world):
    async with client(world) as http:
        answer = await http.post("/v1/interactions", json=LIKE)
    (event,) = world.published.of(INTERACTIONS)
    assert answer.status_code == 202
    assert answer.json() == {"accepted": 1, "event_ids": [event.event_id]}
    assert isinstance(event, Interaction)
    assert event.occurred_at == world.now
    assert event.event_id[14] == "7"


async def test_a_batch_keeps_its_own_ids_and_order(world):
    batch = [LIKE | {"event_id": f"e{n}", "occurred_at": world.now - n, "type": "Interaction"} for n in range(1000)]
    async with client(world) as http:
        answer = await http.post("/v1/interactions", json=batch)
    assert answer.json()["event_ids"] == [f"e{n}" for n in range(1000)]
    assert len(world.published.of(INTERACTIONS)) == 1000


@pytest.mark.parametrize(
    ("changed", "field", "bound"),
    [
        ({"action": "wink"}, "action", "one of comment, complete, follow"),
        ({"user_id": ""}, "user_id", "`str` of length >= 1"),
        ({"video_id": "v" * 129}, "video_id", "`str` of length <= 128"),
        ({"watch_ms": -1}, "watch_ms", "`int` >= 0"),
        ({"position": "3"}, "position", "`int | null`"),
        ({"occurred_at": 1_800_000_000_000 + DAY}, "occurred_at", "5 minutes ahead"),
        ({"occurred_at": 1_800_000_000_000 - 8 * DAY}, "occurred_at", "7 days ago"),
    ],
)
async def test_one_bad_interaction_refuses_the_batch_and_names_place_field_and_bound(world, changed, field, bound):
    async with client(world) as http:
        answer = await http.post("/v1/interactions", json=[LIKE, LIKE, LIKE | changed])
    error = answer.json()["error"]
    assert answer.status_code == 422
    assert (error["type"], error["index"], error["field"]) == ("invalid", 2, field)
    assert bound is None or bound in error["bound"]
    assert world.published.events == []


async def test_a_missing_field_is_named(world):
    async with client(world) as http:
        answer = await http.post("/v1/interactions", json={"user_id": "u", "video_id": "v"})
    assert answer.json()["error"]["field"] == "action"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'"text"', b"[]", b"[" * 100_000, b"null", b'{"user_id": "\\ud800"}'])
async def test_what_is_no_interaction_is_a_4xx(world, body):
    async with client(world) as http:
        answer = await http.post("/v1/interactions", content=body)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["message"]


async def test_a_batch_may_have_a_thousand_events_and_no_more(world):
    async with client(world) as http:
        answer = await http.post("/v1/interactions", json=[LIKE] * 1001)
    assert answer.status_code == 422
    assert answer.json()["error"]["bound"] == "`array` of length <= 1000"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_past_the_bound_is_refused_whether_it_says_its_length_or_not(build, chunked):
    world = build(max_body_bytes=1000)

    async def chunks():
        for _ in range(20):
            yield b" " * 100

    async with client(world) as http:
        answer = await http.post("/v1/interactions", content=chunks() if chunked else b" " * 2000)
    assert answer.status_code == 413
    assert answer.json()["error"]["bound"] == "1000 bytes"


async def test_a_broker_that_is_busy_is_a_503_that_tells_when_and_how_to_come_again(world):
    world.published.full = True
    async with client(world) as http:
        answer = await http.post("/v1/interactions", json=[LIKE, LIKE | {"event_id": "mine"}])
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["error"]["event_ids"][1] == "mine"


# ── uploads and instructions ─────────────────────────────────────────────────────────────────────────────────────────


async def test_an_upload_by_address_is_accepted(world):
    given = {"author_id": "ann", "title": "Pasta", "media_uri": "https://cdn.example.com/p.mp4", "tags": ["cooking"]}
    async with client(world) as http:
        answer = await http.post("/v1/uploads", json=given)
    (event,) = world.published.of(UPLOADS)
    assert answer.status_code == 202
    assert isinstance(event, Upload)
    assert answer.json() == {"event_id": event.event_id, "video_id": event.video_id, "media_uri": given["media_uri"]}
    assert event.tags == ("cooking",)


@pytest.mark.parametrize(
    ("changed", "field", "said"),
    [
        ({"media_uri": "ftp://example.com/a.mp4"}, "media_uri", "allowed: file, http, https"),
        ({"media_uri": "http://127.0.0.1/a.mp4"}, "media_uri", "public host"),
        ({"media_uri": "file:///etc/passwd"}, "media_uri", "media.roots"),
        ({"title": "x" * 501}, "title", "`str` of length <= 500"),
        ({"duration_ms": 4 * 3_600_000}, "duration_ms", "`int` <= 3600000"),
        ({"kind": "film"}, "kind", "film"),
        ({"uploaded_at": 5}, "uploaded_at", "7 days"),
    ],
)
async def test_a_bad_upload_is_a_422_with_its_field(world, changed, field, said):
    async with client(world) as http:
        answer = await http.post("/v1/uploads", json={"author_id": "ann", "title": "Pasta"} | changed)
    error = answer.json()["error"]
    assert answer.status_code == 422
    assert error["field"] == field
    assert said in error["message"]
    assert world.published.events == []


@pytest.mark.parametrize("content", [b"", b"this is no video" * 100])
async def test_a_file_that_is_no_video_is_refused_and_not_kept(world, content):
    async with client(world) as http:
        answer = await http.post("/v1/uploads", data={"author_id": "ann", "title": "t"}, files={"file": ("a.mp4", content)})
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "file"
    assert list(Path(world.node.api.media_dir).iterdir()) == []


async def test_a_video_file_is_probed_stored_and_served_by_ranges(world, shared_data):
    clip = (shared_data / "clips" / "archery.mp4").read_bytes()
    form = {"author_id": "ann", "title": "Archery", "video_id": "a/b", "tags": ["sports", "bow"]}
    async with client(world) as http:
        answer = await http.post("/v1/uploads", data=form, files={"file": ("../x.mp4", clip)})
        assert answer.status_code == 202, answer.text
        (event,) = world.published.of(UPLOADS)
        assert isinstance(event, Upload)
        assert event.duration_ms > 1000
        assert event.tags == ("sports", "bow")
        world.put(world.perception("a/b", media_uri=event.media_uri))
        url = (await http.get("/v1/videos/a%2Fb")).json()["media_url"]
        part = await http.get(url, headers={"Range": "bytes=0-99"})
    assert part.status_code == 206
    assert part.content == clip[:100]


async def test_a_video_that_was_taken_down_can_not_be_uploaded_again(world):
    world.node.forget_video("cooking-0")
    async with client(world) as http:
        answer = await http.post("/v1/uploads", json={"author_id": "ann", "title": "again", "video_id": "cooking-0"})
    assert answer.status_code == 409


async def test_an_instruction_is_accepted(world):
    async with client(world) as http:
        answer = await http.post("/v1/instructions", json={"user_id": "u", "text": "less politics, more cooking"})
    (event,) = world.published.of(INTERACTIONS)
    assert answer.status_code == 202
    assert isinstance(event, Instruction)


# ── feed and videos ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_feed_answers_a_page_and_explains_it_when_asked(world):
    world.add_viewer(likes="music")
    async with client(world) as http:
        plain = (await http.get("/v1/feed", params={"user_id": "u"})).json()
        explained = (await http.get("/v1/feed", params={"user_id": "u", "limit": 3, "explain": "true"})).json()
    assert len(plain["items"]) == 10
    assert plain["as_of"] == world.now
    assert "trace" not in plain
    assert {stage["name"] for stage in explained["trace"]["stages"]} >= {"popular", "seen", "interest", "selector"}
    assert explained["trace"]["items"][0]["found_by"]


@pytest.mark.parametrize("asked", [{}, {"user_id": ""}, {"user_id": "u", "limit": 51}, {"user_id": "u", "limit": "x"}])
async def test_a_bad_question_to_the_feed_is_a_422(world, asked):
    async with client(world) as http:
        answer = await http.get("/v1/feed", params=asked)
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] in ("user_id", "limit")


async def test_a_page_that_replaces_another_may_show_what_was_never_seen(world):
    async with client(world) as http:
        first = [item["video_id"] for item in (await http.get("/v1/feed?user_id=u&limit=10")).json()["items"]]
        again = (await http.get("/v1/feed", params={"user_id": "u", "limit": 1, "unshown": first[4:]})).json()["items"]
    served = world.node.feed.last_pages.of("u", now_ms=world.now)
    assert set(served) == {*first[:4], again[0]["video_id"]}


async def test_of_several_videos_those_are_told_that_may_be_shown(world):
    world.node.forget_video("cooking-1")
    async with client(world) as http:
        asked = {"ids": ["cooking-2", "cooking-1", "never", "cooking-0"]}
        told = (await http.get("/v1/videos", params=asked)).json()["videos"]
        too_many = await http.get("/v1/videos", params={"ids": [str(number) for number in range(51)]})
        too_long = await http.get("/v1/videos", params={"ids": "x" * 129})
    assert [video["video_id"] for video in told] == ["cooking-2", "cooking-0"]
    assert (too_many.status_code, too_long.status_code) == (422, 422)


async def test_a_video_is_unknown_then_known_then_gone(world):
    async with client(world) as http:
        assert (await http.get("/v1/videos/nope")).status_code == 404
        assert (await http.get("/v1/videos/cooking-0")).json()["stage"] == "title"
        await http.delete("/v1/videos/cooking-0")
        assert (await http.get("/v1/videos/cooking-0")).status_code == 410


async def test_a_live_room_that_ends_leaves_at_once(world):
    world.put(world.perception("room", kind="live"))
    async with client(world) as http:
        assert (await http.post("/v1/videos/room/end")).status_code == 202
    assert "room" not in world.catalogue
    assert isinstance(world.published.of(UPLOADS)[0], LiveEnded)


# ── takedown and erasure ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_takedown_lists_every_store_and_is_complete_when_all_have_proven_it(world):
    prove(world, VIDEO_STORES, "video")
    async with client(world) as http:
        answer = (await http.delete("/v1/videos/cooking-0", params={"reason": "rights"})).json()
    assert answer["complete"] is True
    purged = {store["store"] for store in answer["stores"] if store["status"] == "purged"}
    assert purged == {"memory of this API node", "dead-letters topic", *VIDEO_STORES}


async def test_a_store_that_does_not_answer_is_pending(world):
    prove(world, VIDEO_STORES[:1], "video")
    async with client(world) as http:
        answer = (await http.delete("/v1/videos/cooking-0")).json()
    assert answer["complete"] is False
    assert {store["store"] for store in answer["stores"] if store["status"] == "pending"} == set(VIDEO_STORES[1:])


async def test_an_erasure_forgets_the_viewer_here_and_lists_every_store(world):
    world.add_viewer(likes="music")
    await world.page()
    prove(world, USER_STORES, "user")
    async with client(world) as http:
        answer = (await http.delete("/v1/users/u")).json()
    by_name = {store["store"]: store for store in answer["stores"]}
    assert answer["complete"] is True
    assert by_name["memory of this API node"]["purged"] == 11
    assert by_name["feature log"] == {"store": "feature log", "status": "purged", "purged": 2, "detail": ""}
    assert by_name["topic slates"]["detail"] == "events expire after 1 days"


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_key_opens_what_its_scopes_say(build):
    digest = hashlib.sha256(b"feed-key-1").hexdigest()
    keys = [{"key": f"sha256:{digest}", "scopes": ["feed"]}, {"key": "admin-key-0123456789", "scopes": ["admin"]}]
    world = build(keys=keys, host="0.0.0.0")
    async with client(world) as http:
        asked = {"user_id": "u"}
        assert (await http.get("/v1/feed", params=asked)).status_code == 401
        assert (await http.get("/v1/feed", params=asked, headers={"X-API-Key": "wrong-key"})).status_code == 401
        assert (await http.get("/v1/feed", params=asked, headers={"X-API-Key": "feed-key-1"})).status_code == 200
        assert (await http.get("/v1/feed", params=asked, headers={"Authorization": "Bearer feed-key-1"})).status_code == 200
        assert (await http.delete("/v1/videos/v", headers={"X-API-Key": "feed-key-1"})).status_code == 403
        assert (await http.delete("/v1/videos/v", headers={"X-API-Key": "admin-key-0123456789"})).status_code == 200
        assert (await http.get("/healthz")).status_code == 200


def test_an_api_open_to_the_world_needs_keys():
    with pytest.raises(ValidationError, match=r"api\.host is '0\.0\.0\.0' and api\.keys is empty"):
        ApiSettings(host="0.0.0.0")
    ApiSettings(host="0.0.0.0", keys=[ApiKey(key="long-enough-a-key", scopes=frozenset({"admin"}))])


def test_a_proxy_that_can_match_nothing_is_refused():
    with pytest.raises(ValidationError, match="expected addresses or networks"):
        ApiSettings(proxies=("10.0.0.1/24",))
    ApiSettings(proxies=("127.0.0.1", "10.0.0.0/24", "::1"))


def test_a_key_that_could_be_guessed_is_refused():
    with pytest.raises(ValidationError, match="at least 16 characters"):
        ApiKey(key="short-enough", scopes=frozenset({"admin"}))


# ── operation ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_trace_of_a_request_goes_with_its_events_and_comes_back(world):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with client(world, traceparent=trace) as http:
        answer = await http.post("/v1/interactions", json=LIKE)
    assert answer.headers["traceparent"] == trace
    assert world.published.events[0][2] == trace


async def test_a_request_without_a_trace_gets_one(world):
    async with client(world, traceparent="nonsense") as http:
        assert (await http.get("/healthz")).headers["traceparent"].startswith("00-")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/v1/feed", 405)])
async def test_every_error_has_the_same_shape(world, method, path, status):
    async with client(world) as http:
        answer = await http.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"type", "message"}


async def test_without_the_feature_store_the_node_is_ready_and_degraded(world):
    world.stored.away = True
    async with client(world) as http:
        answer = await http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"


async def test_metrics_count_by_route_and_stage(world):
    async with client(world) as http:
        await http.get("/v1/feed", params={"user_id": "u"})
        await http.get("/v1/videos/one")
        text = (await http.get("/metrics")).text
    samples = {
        (sample.name, sample.labels.get("route") or sample.labels.get("stage")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["headwater_requests_total", "/v1/feed"] == 1.0
    assert samples["headwater_requests_total", "/v1/videos/{video_id}"] == 1.0
    assert samples["headwater_feed_stage_seconds_count", "selector"] == 1.0
    assert samples["headwater_catalogue_videos", None] == 60.0


async def test_the_documentation_describes_bodies_with_examples_that_are_accepted(world):
    async with client(world) as http:
        assert (await http.get("/docs")).headers["content-type"].startswith("text/html")
        document = (await http.get("/openapi.json")).json()
        for path in ("/v1/interactions", "/v1/instructions", "/v1/uploads"):
            for example in document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"].values():
                assert (await http.post(path, json=example["value"])).status_code == 202
    named = set(document["components"]["schemas"])
    text = json.dumps(document)
    assert all(ref in named for ref in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]})
    assert msgspec.json.decode(text)
