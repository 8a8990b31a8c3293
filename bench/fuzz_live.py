"""Hostile input into a running house: through its broker into flows and API, and through every endpoint of its API process."""

import http.client
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from bench.mutations import HOSTILE_TEXTS, Mutator
from streams.codec import BadEvent
from streams.follower import followed
from streams.kafka import KafkaSettings, consumer_config, producer_config
from streams.topics import DEAD_LETTERS, INTERACTIONS, SLATES, TOPICS, UPLOADS, Topic

# The topics whose events a flow reads, and of whose bad ones it makes dead letters.
READ_BY_FLOWS = (UPLOADS, INTERACTIONS, SLATES)
SETTLED_S = 120.0


def into_broker(kafka: KafkaSettings, events: int, seed: int, tell: Callable[[int], None] = lambda _done: None) -> Counter[str]:
    """Write `events` mutated ones to every topic, as they are; return how many the broker took, by topic."""
    producer, taken = Producer(producer_config(kafka)), Counter[str]()
    mutators = [Mutator(topic, seed) for topic in TOPICS]

    def answered(error: KafkaError | None, message: Any) -> None:
        taken[message.topic()] += error is None

    for number in range(events):
        for mutator in mutators:
            raw = mutator.next()
            headers: Any = list(raw.headers)
            try:
                producer.produce(mutator.topic.name, raw.payload, key=raw.key, headers=headers, on_delivery=answered)
            except KafkaException as error:
                # The largest are refused before they are sent.
                if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
            except BufferError:
                producer.poll(1.0)
        producer.poll(0)
        tell(number)
    if left := producer.flush(60.0):
        raise ConnectionError(f"the broker did not take {left} events within 60 s")
    return taken


def unanswered(kafka: KafkaSettings) -> dict[str, set[tuple[int, int]]]:
    """Return the places (partition, offset) of bad events, by topic, of which there is no dead letter yet."""
    letters = {key.decode("utf-8", "replace") for _, _, key, payload, _ in _read(kafka, DEAD_LETTERS) if key and payload}
    missing: dict[str, set[tuple[int, int]]] = {}
    for topic in READ_BY_FLOWS:
        bad = {
            (partition, offset)
            for partition, offset, key, payload, at in _read(kafka, topic)
            if not _is_good(topic, key, payload, at)
        }
        missing[topic.name] = {place for place in bad if f"{topic.name}/{place[0]}/{place[1]}" not in letters}
    return missing


def _is_good(topic: Topic, key: bytes | None, payload: bytes | None, appended_at: int) -> bool:
    try:
        return followed(topic, payload, key, appended_at).event is not None
    except BadEvent:
        return False


def _read(kafka: KafkaSettings, topic: Topic) -> Iterator[tuple[int, int, bytes | None, bytes | None, int]]:
    """Yield all that is in a topic now: partition, offset, key, payload, and when the broker got it (Unix ms)."""
    config = consumer_config(kafka) | {"group.id": "headwater-fuzz", "enable.partition.eof": True}
    with closing(Consumer(config)) as consumer:
        unread = set(consumer.list_topics(topic.name, timeout=10.0).topics[topic.name].partitions)
        consumer.assign([TopicPartition(topic.name, partition, OFFSET_BEGINNING) for partition in unread])
        deadline = time.monotonic() + SETTLED_S
        while unread and time.monotonic() < deadline:
            for message in consumer.consume(500, 0.2):
                error = message.error()
                if error is None:
                    place = message.partition() or 0, message.offset() or 0
                    key: Any = message.key()
                    yield *place, key, message.value(), message.timestamp()[1]
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())


@dataclass
class Answers:
    """What an API answered: statuses by endpoint, and what must not be."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def into_http(
    url: str, requests: int, seed: int, *, key: str = "", tell: Callable[[int], None] = lambda _done: None
) -> Answers:
    """Send `requests` hostile ones to each endpoint; an answer of 500, or none, is a fault."""
    answers, address = Answers(), urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30.0)
    ways = _ways(seed)
    for number in range(requests):
        for name, make in ways.items():
            method, path, body, headers = make()
            try:
                connection.request(method, path, body, headers | ({"X-API-Key": key} if key else {}))
                answer = connection.getresponse()
                said = answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                answers.faults.append(f"{name}: {error!r} to {method} {path[:80]}")
                continue
            answers.statuses[name, answer.status] += 1
            if answer.status >= 500 and answer.status != 503:
                answers.faults.append(f"{name}: {answer.status} to {method} {path[:80]}: {said[:200]!r}")
        tell(number)
    connection.close()
    return answers


Request = tuple[str, str, bytes | None, dict[str, str]]


def _ways(seed: int) -> dict[str, Callable[[], Request]]:
    dice = random.Random(seed)
    mutators = {topic: Mutator(topic, seed) for topic in (UPLOADS, INTERACTIONS)}
    json = {"Content-Type": "application/json"}

    def text() -> str:
        return dice.choice((*HOSTILE_TEXTS, f"user-{dice.randrange(300)}", f"video-{dice.randrange(600)}"))

    def path() -> str:
        return quote(text(), safe=dice.choice(("", "/"))) or "%20"

    def payload(topic: Topic) -> bytes:
        raw = b"".join([mutators[topic].next().payload or b""])
        # A batch of them, or one: the API knows both.
        return b"[%s]" % b",".join([raw, raw]) if dice.random() < 0.3 else raw

    def headers() -> dict[str, str]:
        extra = {"traceparent": dice.choice(("00-" + "f" * 32 + "-" + "f" * 16 + "-01", "x" * 300, ""))}
        return json | (extra if dice.random() < 0.2 else {})

    def form() -> dict[str, str]:
        return {"Content-Type": "multipart/form-data" + dice.choice(("", "; boundary=x"))}

    def asked(**fields: str) -> str:
        return urlencode(fields, errors="surrogatepass")

    return {
        "POST /v1/interactions": lambda: ("POST", "/v1/interactions", payload(INTERACTIONS), headers()),
        "POST /v1/instructions": lambda: ("POST", "/v1/instructions", payload(INTERACTIONS), headers()),
        "POST /v1/uploads": lambda: ("POST", "/v1/uploads", payload(UPLOADS), headers()),
        "POST /v1/uploads (form)": lambda: ("POST", "/v1/uploads", payload(UPLOADS), form()),
        "POST /v1/session": lambda: ("POST", "/v1/session", payload(INTERACTIONS), headers()),
        "GET /v1/feed": lambda: (
            "GET", f"/v1/feed?{asked(user_id=text(), limit=text(), explain=text(), unshown=text())}", None, headers(),
        ),
        "GET /v1/feed of many": lambda: ("GET", f"/v1/feed?{asked(user_id=text())}", None, headers()),
        "GET /v1/videos": lambda: ("GET", f"/v1/videos?{asked(ids=text())}", None, headers()),
        "GET /v1/videos/…": lambda: ("GET", f"/v1/videos/{path()}", None, headers()),
        "GET /v1/videos/…/media": lambda: (
            "GET", f"/v1/videos/{path()}/media", None, {"Range": dice.choice(("bytes=9-1", "x", "bytes=0-"))},
        ),
        "GET /v1/videos/…/poster": lambda: ("GET", f"/v1/videos/{path()}/poster", None, {}),
        "POST /v1/videos/…/end": lambda: ("POST", f"/v1/videos/{path()}/end", payload(UPLOADS), headers()),
        "DELETE /v1/videos/…": lambda: ("DELETE", f"/v1/videos/{path()}?{asked(reason=text())}", None, headers()),
        "GET /v1/dead-letters": lambda: (
            "GET", f"/v1/dead-letters?{asked(origin=text(), limit=text(), open=text())}", None, headers(),
        ),
        "POST /v1/dead-letters/…/replay": lambda: ("POST", f"/v1/dead-letters/{path()}/replay", None, headers()),
        "GET /v1/purges": lambda: ("GET", f"/v1/purges?{asked(limit=text())}", None, headers()),
        "GET elsewhere": lambda: (dice.choice(("GET", "PUT", "PATCH")), f"/{path()}", None, headers()),
    }  # fmt: skip
