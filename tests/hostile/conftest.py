"""A whole house with short windows, for the tests that look into every store from outside."""

import itertools
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from redis import Redis

from bench.house import Up, up
from streams.follower import Followed, Follower
from streams.kafka import producer_config
from streams.topics import BY_NAME

KEY = "key-of-the-tests-5c1e"
# What waits minutes in a deployment waits seconds here, so that a test sees the end of it.
SHORT = {
    "flows.feedback_silence_s": 2.0,
    "flows.feedback_max_s": 12.0,
    "flows.feedback_grace_s": 0.0,
    "flows.feedback_file_s": 2.0,
    "flows.scrub_every_s": 1.0,
    "flows.background_snapshot_ms": 500,
    "flows.plan_min_interval_s": 0.0,
    "features.log_every_s": 0.0,
    "features.log_flush_s": 1.0,
    "feed.shelf_every_s": 0.2,
    "api.purge_wait_s": 20.0,
    "api.keys": json.dumps([{"key": KEY, "scopes": ["admin"]}]),
}


class Inside:
    """A running house, what can be asked of it, and what lies in its stores."""

    def __init__(self, house: Up) -> None:
        self.house = house
        self.settings = house.running.settings
        self.var = Path(self.settings.var)
        self._numbers = itertools.count()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return the status and the JSON of an answer."""
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "X-API-Key": KEY}
        asked = urllib.request.Request(self.house.running.url + path, raw, headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=40) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def page(self, user_id: str, limit: int = 10) -> dict[str, Any]:
        """Return a page for a viewer."""
        status, page = self.ask("GET", f"/v1/feed?user_id={urllib.parse.quote(user_id)}&limit={limit}")
        assert status == 200, page
        found: dict[str, Any] = page
        return found

    def produce(self, topic: str, payload: bytes | None, key: bytes | None) -> None:
        """Write to Kafka behind the API's back."""
        producer = Producer(producer_config(self.settings.kafka))
        producer.produce(topic, payload, key=key)
        assert producer.flush(20.0) == 0

    def read(self, topic: str) -> list[Followed]:
        """Return all that is in a topic, in order."""
        got: list[Followed] = []
        name = f"look-{next(self._numbers)}"
        with closing(Follower(self.settings.kafka, [BY_NAME[topic]], got.extend, name=name).start(timeout_s=30.0)):
            # A broker's idea of its end may lag behind what it holds.
            time.sleep(0.5)
        return got

    def table(self, topic: str) -> dict[str, Any]:
        """Return a compacted topic as its readers have it: the newest of each key, without those that ended."""
        newest = {followed.key: followed.event for followed in self.read(topic)}
        return {key: event for key, event in newest.items() if event is not None}

    def redis_holds(self, text: str) -> list[bytes]:
        """Return the keys of Redis that hold `text` in their name or their value."""
        host, port = self.settings.features.connection_string.split(",")[0].rsplit(":", 1)
        found = []
        with Redis(host=host, port=int(port)) as redis:
            for key in redis.scan_iter(count=1000):
                if text.encode() in key or text.encode() in (redis.dump(key) or b"") or self._in_hash(redis, key, text):
                    found.append(key)
        return found

    @staticmethod
    def _in_hash(redis: Any, key: bytes, text: str) -> bool:
        return redis.type(key) == b"hash" and any(text.encode() in part for pair in redis.hgetall(key).items() for part in pair)

    def files_with(self, text: str, *folders: str) -> set[str]:
        """Return the files below these folders of `var` that hold `text` in their name or anywhere in their bytes."""
        found = set()
        for folder in folders:
            for path in sorted((self.var / folder).rglob("*")):
                try:
                    if text in path.name or (path.is_file() and text.encode() in path.read_bytes()):
                        found.add(str(path.relative_to(self.var)))
                except FileNotFoundError:
                    continue
        return found

    def until(self, holds: Callable[[], Any], *, within_s: float = 45.0) -> Any:
        """Return what `holds` returns once that is true, or fail."""
        deadline = time.monotonic() + within_s
        while not (found := holds()):
            assert time.monotonic() < deadline, f"not within {within_s:g} s: {holds}"
            time.sleep(0.1)
        return found


@pytest.fixture(scope="package")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """One house for these tests, with a key."""
    with up(SHORT) as house:
        yield Inside(house)
