"""Sessions: a browser signs in with a key once, and its cookie opens what the key does, until it expires or the key goes."""

import hashlib
import hmac
import logging

import httpx
import pytest

from serving.api import create_app
from serving.keys import COOKIE, _Signer

pytestmark = pytest.mark.anyio

FEED_KEY, ADMIN_KEY = "feed-key-0123456789", "admin-key-0123456789"
KEYS = [{"key": FEED_KEY, "scopes": ["feed"], "name": "page"}, {"key": ADMIN_KEY, "scopes": ["admin"], "name": "ops"}]
FEED = "/v1/feed?user_id=u"


def client(world, base_url="http://localhost", **more):
    transport = httpx.ASGITransport(create_app(world.node), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=base_url, **more)


async def signed_in(world, key=FEED_KEY):
    """Return the cookie that a key gets."""
    async with client(world) as http:
        answer = await http.post("/v1/session", json={"key": key})
        assert answer.status_code == 204
        return answer.cookies[COOKIE]


async def test_a_session_opens_what_its_key_does_and_no_more(build):
    world = build(keys=KEYS)
    async with client(world) as http:
        assert (await http.get(FEED)).status_code == 401
        assert (await http.post("/v1/session", json={"key": FEED_KEY})).status_code == 204
        assert (await http.get(FEED)).status_code == 200
        assert (await http.delete("/v1/videos/v")).status_code == 403
        assert (await http.get("/v1/session")).json() == {"open": False, "scopes": ["feed"]}
        assert (await http.post("/v1/session", json={"key": ADMIN_KEY})).status_code == 204
        assert (await http.delete("/v1/videos/v")).status_code == 200
        assert (await http.get("/v1/session")).json() == {"open": False, "scopes": ["admin", "feed", "ingest"]}
        assert (await http.delete("/v1/session")).status_code == 204
        assert (await http.get(FEED)).status_code == 401
        assert (await http.get("/v1/session")).json() == {"open": False, "scopes": []}


async def test_without_keys_everyone_may_do_everything_and_no_session_is_needed(world):
    async with client(world) as http:
        assert (await http.get("/v1/session")).json() == {"open": True, "scopes": ["admin", "feed", "ingest"]}
        answer = await http.post("/v1/session", json={"key": "any"})
    assert answer.status_code == 204
    assert COOKIE not in answer.cookies


async def test_the_cookie_is_kept_from_scripts_other_sites_and_plain_connections(build):
    world = build(keys=KEYS)
    async with client(world) as http:
        plain = (await http.post("/v1/session", json={"key": FEED_KEY})).headers["set-cookie"]
    async with client(world, "https://test") as https:
        secure = (await https.post("/v1/session", json={"key": FEED_KEY})).headers["set-cookie"]
    for said in (plain, secure):
        attributes = {part.strip().lower() for part in said.split(";")}
        assert {"httponly", "samesite=strict", "path=/", "max-age=43200"} <= attributes
    assert "secure" not in plain.lower()
    assert "secure" in secure.lower()


async def test_a_cookie_that_was_tampered_with_opens_nothing(build):
    world = build(keys=KEYS)
    feed, admin = await signed_in(world), await signed_in(world, ADMIN_KEY)
    swapped = admin.split(".")[0] + "." + feed.partition(".")[2]
    changed = [feed[:-1] + ("A" if feed[-1] != "A" else "B"), swapped, "", ".", "no.such.cookie", feed.rpartition(".")[0], "ü"]
    async with client(world) as http:
        assert (await http.get(FEED, headers={"Cookie": f"{COOKIE}={feed}"})).status_code == 200
        for cookie in changed:
            answer = await http.get(FEED, headers={"Cookie": f"{COOKIE}={cookie}".encode()})
            assert answer.status_code == 401, cookie


async def test_a_session_ends_after_its_hours_and_one_from_the_future_is_none(build):
    world = build(keys=KEYS)
    cookie = {"Cookie": f"{COOKIE}={await signed_in(world)}"}
    began = world.now
    async with client(world) as http:
        world.now = began + 12 * 3_600_000
        assert (await http.get(FEED, headers=cookie)).status_code == 200
        world.now += 2000
        expired = await http.get(FEED, headers=cookie)
        assert expired.status_code == 401
        assert "expired" in expired.json()["error"]["message"]
        world.now = began - 3_600_000
        assert (await http.get(FEED, headers=cookie)).status_code == 401


async def test_sessions_of_a_removed_key_end_and_those_of_others_go_on_on_every_node(build):
    first = build(keys=KEYS)
    feed, admin = await signed_in(first), await signed_in(first, ADMIN_KEY)
    second = build(keys=KEYS[:1])
    async with client(second) as http:
        assert (await http.get(FEED, headers={"Cookie": f"{COOKIE}={feed}"})).status_code == 200
        assert (await http.get(FEED, headers={"Cookie": f"{COOKIE}={admin}"})).status_code == 401
    async with client(build(keys=KEYS, session_secret="another one")) as http:
        assert (await http.get(FEED, headers={"Cookie": f"{COOKIE}={feed}"})).status_code == 401


async def test_a_key_in_a_header_is_believed_before_a_cookie(build):
    world = build(keys=KEYS)
    cookie = {"Cookie": f"{COOKIE}={await signed_in(world)}"}
    async with client(world) as http:
        assert (await http.get(FEED, headers=cookie | {"X-API-Key": "not-a-known-key"})).status_code == 401


async def test_an_unknown_key_signs_nobody_in(build):
    async with client(build(keys=KEYS)) as http:
        answer = await http.post("/v1/session", json={"key": "not-a-known-key"})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert (await http.post("/v1/session", json={})).status_code == 422
        assert (await http.post("/v1/session", content=b"{")).status_code == 400


async def test_no_key_is_ever_in_an_answer_or_a_log(build, caplog):
    caplog.set_level(logging.DEBUG)
    guess = "a-guess-0123456789"
    world = build(keys=KEYS)
    said = [repr(world.node.api), str(world.node.api)]
    async with client(world) as http:
        for key in (FEED_KEY, ADMIN_KEY, guess):
            for body in ({"key": key}, {"key": [key]}, {key: key}, key):
                answer = await http.post("/v1/session", json=body)
                said += [answer.text, str(answer.headers)]
            for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}, {"Cookie": f"{COOKIE}={key}"}):
                http.cookies.clear()
                answer = await http.delete("/v1/videos/v", headers=headers)
                said += [answer.text, str(answer.headers)]
    everything = "\n".join(said) + caplog.text
    for key in (FEED_KEY, ADMIN_KEY, guess):
        assert key not in everything


async def test_the_documentation_names_401_and_403_wherever_a_key_is_needed(build):
    async with client(build(keys=KEYS)) as http:
        document = (await http.get("/openapi.json")).json()
    keyed = [operation for path in document["paths"].values() for operation in path.values() if operation.get("security")]
    assert len(keyed) >= 10
    for operation in keyed:
        assert {"401", "403"} <= operation["responses"].keys() or operation["tags"] == ["session"], operation["summary"]
    assert "/v1/session" in document["paths"]
    cookies = [scheme for scheme in document["components"]["securitySchemes"].values() if scheme.get("in") == "cookie"]
    assert cookies[0]["name"] == COOKIE


async def test_who_reads_a_digest_in_the_configuration_can_make_no_session_of_it(build):
    digest = hashlib.sha256(ADMIN_KEY.encode())
    world = build(keys=[{"key": f"sha256:{digest.hexdigest()}", "scopes": ["admin"]}])
    cookie = await signed_in(world, ADMIN_KEY)
    # All that the configuration tells: the name of the key in a cookie, and a secret of the digest alone.
    secret = hmac.digest(digest.digest(), b"headwater session", "sha256")
    forged = _Signer(secret, world.node.clock).sign(cookie.split(".")[0]).decode()
    async with client(world) as http:
        http.cookies.set(COOKIE, cookie)
        assert (await http.get(FEED)).status_code == 200
        http.cookies.set(COOKIE, forged)
        assert (await http.get(FEED)).status_code == 401


async def test_what_another_site_makes_a_browser_send_is_refused(world):
    event = {"user_id": "u", "video_id": "v", "action": "like"}
    async with client(world) as http:
        crossed = await http.post("/v1/interactions", json=event, headers={"Sec-Fetch-Site": "cross-site"})
        assert (crossed.status_code, crossed.json()["error"]["type"]) == (403, "forbidden")
        assert (await http.post("/v1/interactions", json=event, headers={"Sec-Fetch-Site": "same-origin"})).status_code == 202
        assert (await http.post("/v1/interactions", json=event)).status_code == 202
