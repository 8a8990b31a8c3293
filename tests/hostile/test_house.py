"""Hostile input into a whole running house: nobody falls, everything is counted, and keys are told to nobody."""

import base64
import http.client
from urllib.parse import urlsplit

import pytest

from bench.fuzz_live import into_broker, into_http, unanswered
from tests.hostile.conftest import KEY, Inside

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

EVENTS, REQUESTS = 300, 15


def pids(inside: Inside) -> dict[str, int]:
    """Return the process behind each name."""
    return {name: family[0].pid for name, family in inside.house.families().items()}


def test_hostile_events_in_every_topic_stop_no_process_and_become_dead_letters(inside: Inside) -> None:
    before = pids(inside)
    taken = into_broker(inside.settings.kafka, EVENTS, seed=11)
    assert len(taken) == 12
    inside.until(lambda: not any(unanswered(inside.settings.kafka).values()), within_s=120.0)
    assert inside.page("somebody")["request_id"]
    assert pids(inside) == before


def test_hostile_requests_to_every_endpoint_are_answered_and_none_with_a_500(inside: Inside) -> None:
    before = pids(inside)
    answers = into_http(inside.house.running.url, REQUESTS, seed=5, key=KEY)
    assert answers.faults == []
    assert {name for name, _ in answers.statuses} == {name for name, status in answers.statuses if status < 500}
    assert inside.page("somebody")["request_id"]
    assert pids(inside) == before


def test_keys_right_and_wrong_are_in_no_log_and_no_answer(inside: Inside) -> None:
    address = urlsplit(inside.house.running.url)
    wrong = "wrong-key-8d2f"
    said = b""
    for key in (KEY, wrong):
        basic = base64.b64encode(f"user:{key}".encode()).decode()
        for headers in (
            {"X-API-Key": key},
            {"Authorization": f"Bearer {key}"},
            {"Authorization": f"Basic {basic}"},
            {"Cookie": f"headwater_session={key}"},
        ):
            for method, path in (
                ("GET", "/v1/feed?user_id=u"),
                ("GET", f"/v1/feed?user_id=u&api_key={key}"),
                ("DELETE", "/v1/videos/none"),
                ("POST", "/v1/interactions"),
            ):
                connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
                connection.request(method, path, b"{", headers)
                answer = connection.getresponse()
                said += answer.read() + str(answer.headers).encode()
                connection.close()
        status, answer_of_sign_in = inside.ask("POST", "/v1/session", {"key": key})
        assert status == (204 if key == KEY else 401)
        said += str(answer_of_sign_in).encode()
    for key in (KEY, wrong):
        assert key.encode() not in said
        assert inside.files_with(key, "log") == set()
        assert key not in inside.house.said.read_text()
