"""What browsers may do here: pages and requests of our own, and nothing that another site makes them do."""

import httpx
import pytest

from serving.api import create_app

pytestmark = pytest.mark.anyio

KEYS = [{"key": "feed-key-0123456789", "scopes": ["feed"]}]
FEED = "/v1/feed?user_id=u"


def client(world, base_url="http://localhost"):
    transport = httpx.ASGITransport(create_app(world.node), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=base_url)


@pytest.mark.parametrize("ours", ["http://localhost:8000", "http://LOCALHOST", "http://127.0.0.1:8000", "http://[::1]:8000"])
async def test_without_keys_this_machine_answers_to_its_own_names(world, ours):
    async with client(world, ours) as http:
        assert (await http.get(FEED)).status_code == 200


@pytest.mark.parametrize("host", ["rebound.example.com", "rebound.example.com:8000", "127.0.0.1.example.com", "[", ""])
async def test_without_keys_it_answers_to_no_name_of_another_site(world, host):
    async with client(world) as http:
        answer = await http.get(FEED, headers={"Host": host})
        assert (await http.delete("/v1/videos/v", headers={"Host": host})).status_code == 403
    assert answer.status_code == 403
    assert "api.keys" in answer.json()["error"]["message"]


async def test_with_keys_it_answers_to_whatever_name_it_is_given(build):
    async with client(build(keys=KEYS), "https://feed.example.com") as http:
        assert (await http.get(FEED, headers={"X-API-Key": KEYS[0]["key"]})).status_code == 200


async def test_what_another_site_makes_a_browser_send_is_refused(world):
    async with client(world) as http:
        assert (await http.delete("/v1/videos/v", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 403
        assert (await http.delete("/v1/videos/v", headers={"Sec-Fetch-Site": "same-origin"})).status_code == 200


async def test_answers_that_nobody_expected_carry_the_headers_of_all_others(world, monkeypatch: pytest.MonkeyPatch):
    async def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(world.node.feed.pipeline, "run", fail)
    async with client(world) as http:
        failed, fine = await http.get(FEED), await http.get("/healthz")
    assert failed.status_code == 500
    assert failed.json()["error"]["type"] == "internal"
    for name in ("content-security-policy", "x-content-type-options", "referrer-policy", "permissions-policy"):
        assert failed.headers[name] == fine.headers[name]
