"""Hostile input: events as nobody should send them, made from right ones by dice: a seed sends the same each time.

A mutation knows the structure of what it spoils: a field gets a value of another type or past its bound, an embedding an odd
length or no number, a time the ends of its range; then there are the bytes themselves, the key and the headers.
"""

import base64
import copy
import random
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from streams import events, topics
from streams.codec import encode, pack_vector
from streams.events import ACTIONS
from streams.state.interests import DIMENSIONS
from streams.topics import Topic

DAY_MS = 86_400_000
# Ids are drawn from so many, so that hostile events meet in the same state, and that it ends growing.
USERS, VIDEOS = 300, 600
# Right events that a topic's mutations begin with.
SEEDS = 400

HOSTILE_TEXTS = (
    "", " ", "\x00", "../../etc/passwd", "a/b", "%2e%2e%2f", "'; DROP TABLE videos; --", "<script>alert(1)</script>",
    "\u202e\u202d", "𝕳" * 128,
    "👩‍👩‍👧‍👦" * 30, "ß" * 500, "ﷺ" * 300, "\n\r\tlog forged", "x" * 128, "x" * 129, "x" * 501, "NaN", "null", "\ufeff",
    "\u0301" * 200,
)  # fmt: skip
HOSTILE_NUMBERS = (
    0, -1, 1, 0.5, -0.0, 1e308, -1e308, 1e-320, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**40, -(10**40),
    253_402_300_799_999, 253_402_300_800_000, 86_400_001,
)  # fmt: skip
# What json.dumps of other languages writes, and this one may not read.
LITERALS = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"0x10", b"01", b"+1", b"'a'", b"undefined", b"1" * 400)
VALUES: tuple[Any, ...] = (
    *HOSTILE_TEXTS, *HOSTILE_NUMBERS, None, True, False, [], {}, [[]], [None], {"": None}, ["x"] * 200, {"a": {"b": {"c": 1}}},
    list(range(1000)), [{}] * 50, {"type": "Upload"},
)  # fmt: skip
TRACES: tuple[bytes | None, ...] = (
    b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", b"00-" + b"0" * 32 + b"-" + b"b" * 16 + b"-01", b"\xff\xfe", b"", None,
    b"x" * 5000, b"00-short-01",
)  # fmt: skip


@dataclass(frozen=True)
class Raw:
    """What is sent: a Kafka message as it comes off the wire."""

    payload: bytes | None
    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Mutator:
    """Makes messages for one topic. About a third are right events, so that the wrong ones meet state worth spoiling."""

    def __init__(self, topic: Topic, seed: int, *, now_ms: int | None = None) -> None:
        self.topic = topic
        self._dice = random.Random(f"{topic.name}-{seed}")
        self._now = now_ms or time.time_ns() // 1_000_000
        made = Maker(self._dice, self._now)
        self._seeds = [made.event(topic) for _ in range(SEEDS)]
        self._trees = [msgspec.json.decode(encode(event)) for event in self._seeds]
        self._strangers = [encode(made.event(other)) for other in topics.TOPICS for _ in range(3)]
        self._number = 0

    def __iter__(self) -> Iterator[Raw]:
        while True:
            yield self.next()

    def next(self) -> Raw:
        """Return one more message."""
        dice = self._dice
        at = dice.randrange(len(self._seeds))
        key = str(getattr(self._seeds[at], self.topic.key)).encode()
        roll = dice.random()
        payload: bytes | None
        if roll < 0.35:
            payload = self._right(at)
        elif roll < 0.75:
            payload = self._spoilt_fields(at)
        elif roll < 0.95:
            payload = self._spoilt_bytes(self._right(at))
        elif roll < 0.98:
            payload = dice.choice(self._strangers)
        else:
            payload = None
        if dice.random() < 0.05:
            key = dice.choice((b"", b"\xff\xfe", b"another", key + b"x", b"k" * 2000))
        headers = (("traceparent", dice.choice(TRACES)),) if dice.random() < 0.1 else ()
        if dice.random() < 0.02:
            headers = (*headers, ("x-foreign", b"\x00\xff" * 50), ("", b""))
        return Raw(payload, None if dice.random() < 0.02 else key, headers)

    def _right(self, at: int) -> bytes:
        tree = dict(self._trees[at])
        self._number += 1
        if "event_id" in tree:
            tree["event_id"] = f"f{self._number}" if self._dice.random() < 0.9 else "f-again"
        if self.topic is topics.SLATES and self._dice.random() < 0.9:
            tree["request_id"] = f"r{self._number}"
        return msgspec.json.encode(tree)

    def _spoilt_fields(self, at: int) -> bytes:
        dice = self._dice
        tree = msgspec.json.decode(self._right(at))
        for _ in range(1 if dice.random() < 0.8 else 3):
            parent, name = self._place(tree)
            before = parent[name]
            spoil = dice.random()
            if spoil < 0.12 and isinstance(parent, dict):
                del parent[name]
            elif spoil < 0.2 and isinstance(parent, dict):
                parent[dice.choice(("from_2030", "type", "event_id", "__proto__", ""))] = copy.deepcopy(dice.choice(VALUES))
            elif name == "embedding" and spoil < 0.9:
                parent[name] = hostile_embedding(dice)
            elif isinstance(name, str) and name.endswith("_at") and spoil < 0.8:
                parent[name] = dice.choice(self._times())
            elif isinstance(before, list) and before and spoil < 0.6:
                # Past the bound of every array; a slate's items would be a megabyte at more.
                parent[name] = before * dice.choice((2, 60 if len(before) > 3 else 1001))
            else:
                parent[name] = copy.deepcopy(dice.choice(VALUES))
        return msgspec.json.encode(tree)

    def _place(self, tree: Any) -> tuple[Any, Any]:
        """Return where to spoil: a container and its key, at any depth."""
        while True:
            names = list(tree) if isinstance(tree, dict) else range(len(tree))
            name = self._dice.choice(list(names))
            inner = tree[name]
            if not inner or not isinstance(inner, dict | list) or self._dice.random() < 0.4:
                return tree, name
            tree = inner

    def _times(self) -> tuple[int, ...]:
        edge = 7 * DAY_MS
        now = self._now
        return (0, -1, now, now - edge - 1, now - edge + 60_000, now + 299_000, now + 301_000, 253_402_300_799_999, 2**63)

    def _spoilt_bytes(self, payload: bytes) -> bytes:
        return self._dice.choice(_BYTES)(self._dice, payload)


def _truncated(dice: random.Random, payload: bytes) -> bytes:
    return payload[: dice.randrange(len(payload))]


def _flipped(dice: random.Random, payload: bytes) -> bytes:
    spoilt = bytearray(payload)
    for _ in range(dice.choice((1, 1, 3, 20))):
        spoilt[dice.randrange(len(spoilt))] = dice.randrange(256)
    return bytes(spoilt)


def _inserted(dice: random.Random, payload: bytes) -> bytes:
    at = dice.randrange(len(payload))
    return payload[:at] + dice.choice((b"\xff\xfe", b'"', b"{", b"\\ud800", b"\x00", b",,", b"\xed\xa0\x80")) + payload[at:]


def _literal(dice: random.Random, payload: bytes) -> bytes:
    at = payload.rfind(b":", 0, dice.randrange(1, len(payload))) + 1
    end = min((place for place in (payload.find(b",", at), payload.find(b"}", at)) if place >= 0), default=len(payload))
    return payload[:at] + dice.choice(LITERALS) + payload[end:]


def _doubled(dice: random.Random, payload: bytes) -> bytes:
    """Every name twice, with another value the second time."""
    return payload[:-1] + b"," + payload[1:-1].replace(b":1", b":2") + b"}"


def _nested(dice: random.Random, payload: bytes) -> bytes:
    depth = dice.choice((10, 500, 5_000))
    return payload[:-1] + b',"deep":' + b"[" * depth + b"]" * depth + b"}"


def _surrogate(dice: random.Random, payload: bytes) -> bytes:
    return payload.replace(b'":"', b'":"\\ud800', 1)


def _huge(dice: random.Random, payload: bytes) -> bytes:
    # Rare, or they would be most of the bytes: the broker's limit, and what a dead letter is cut at.
    size = dice.choice((599_000, 600_001, 1_000_001)) if dice.random() < 0.01 else 20_000
    return payload[:-1] + b',"large":"' + b"x" * size + b'"}'


def _other(dice: random.Random, payload: bytes) -> bytes:
    return dice.choice(
        (b"", b"null", b"[]", b"{}", b'"text"', b"0", b"[" + payload + b"]", b" " * 50, payload + payload, b"\x00" * 20)
    )


_BYTES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _truncated, _flipped, _inserted, _literal, _doubled, _nested, _surrogate, _huge, _other,
)  # fmt: skip


def hostile_embedding(dice: random.Random) -> Any:
    """Return what stands where an embedding should: wrong sizes, no numbers, no direction, no base64."""
    inf, nan = struct.pack("<e", float("inf")), struct.pack("<e", float("nan"))
    packed = dice.choice(
        (
            b"", b"x", b"xyz", bytes(2 * DIMENSIONS), nan * DIMENSIONS, inf * DIMENSIONS, nan + bytes(2 * DIMENSIONS - 2),
            bytes(2 * DIMENSIONS - 1), bytes(2 * DIMENSIONS + 2), struct.pack("<e", 60_000.0) * DIMENSIONS, bytes(9000),
        )
    )  # fmt: skip
    text = base64.b64encode(packed).decode()
    return dice.choice((text, text, text, text[:-1], text + "=", "!!!!", "_-_-", None, 5, [1.0, 2.0]))


class Maker:
    """Right events of every topic, about a few hundred viewers and videos."""

    def __init__(self, dice: random.Random, now_ms: int) -> None:
        self._dice = dice
        self._now = now_ms
        self._rng = np.random.default_rng(dice.randrange(2**32))

    def event(self, topic: Topic) -> Any:
        """Return one event of `topic`."""
        return self._MAKE[topic.name](self)

    def embedding(self) -> bytes:
        """Return a packed unit vector."""
        vector = self._rng.normal(size=DIMENSIONS).astype(np.float32)
        return pack_vector(vector / np.linalg.norm(vector))

    def _user(self) -> str:
        return f"user-{self._dice.randrange(USERS)}"

    def _video(self) -> str:
        return f"video-{self._dice.randrange(VIDEOS)}"

    def _at(self) -> int:
        return self._now - self._dice.randrange(3_600_000)

    def _id(self) -> str:
        return f"{self._dice.randrange(2**48):x}"

    def _upload(self) -> events.Upload:
        return events.Upload(
            event_id=self._id(),
            video_id=self._video(),
            author_id=self._user(),
            title=self._dice.choice(("Noodles in ten minutes", "A cat", "今日のラーメン", "🔥", "")),
            uploaded_at=self._at(),
            tags=("cooking", "noodles")[: self._dice.randrange(3)],
            duration_ms=self._dice.choice((None, 0, 15_000)),
            kind="live" if self._dice.random() < 0.1 else "video",
        )

    def _uploads(self) -> Any:
        roll = self._dice.random()
        if roll < 0.9:
            return self._upload()
        ending = events.Takedown if roll < 0.95 else events.LiveEnded
        return ending(event_id=self._id(), video_id=self._video(), at=self._at())

    def _interactions(self) -> Any:
        roll, user, at = self._dice.random(), self._user(), self._at()
        if roll < 0.02:
            return events.Erasure(event_id=self._id(), user_id=user, occurred_at=at)
        if roll < 0.06:
            return events.Instruction(event_id=self._id(), user_id=user, text="less politics, more cooking", occurred_at=at)
        return events.Interaction(
            event_id=self._id(),
            user_id=user,
            video_id=self._video(),
            action=self._dice.choice(ACTIONS),  # type: ignore[arg-type]
            occurred_at=at,
            request_id=self._dice.choice((None, f"r{self._dice.randrange(500)}")),
            session_id=self._dice.choice((None, "s1", "s2")),
            position=self._dice.choice((None, 0, 9)),
            watch_ms=self._dice.choice((None, 0, 8_000, 86_400_000)),
        )

    def _perception(self) -> events.Perception:
        upload = self._upload()
        return events.Perception(
            video=upload,
            stage=self._dice.choice(("title", "frames")),
            summary=upload.title,
            topics=(events.TopicScore("cooking", 0.7), events.TopicScore("music", 0.2)),
            embedding=self.embedding(),
            model_version="fuzz-1",
            perceived_at=self._at(),
            safety={"unsafe": 0.1},
        )

    def _stats(self) -> events.VideoStats:
        return events.VideoStats(
            video_id=self._video(), as_of=self._at(), impressions=120.5, plays=40.0, likes=3.0, skips=9.0, watch_share=0.4,
            total_impressions=self._dice.randrange(500),
        )  # fmt: skip

    def _slate(self) -> events.Slate:
        items = tuple(
            events.SlateItem(
                video_id=self._video(), position=position, score=0.5, propensity=0.5, source="fresh", reason="Just uploaded",
                live=self._dice.random() < 0.1, duration_ms=self._dice.choice((None, 0, 15_000)),
                features=self._dice.randbytes(2 * self._dice.randrange(65)),
            )
            for position in range(10)
        )  # fmt: skip
        return events.Slate(
            request_id=f"r{self._dice.randrange(500)}", user_id=self._user(), items=items, served_at=self._at(),
            pool=tuple(self._video() for _ in range(30)), features_as_of=self._at(), features_version=1,
        )  # fmt: skip

    def _plan(self) -> events.Plan:
        return events.Plan(
            user_id=self._user(), trigger="instruction", created_at=self._at(), expires_at=self._now + 3_600_000,
            ranking=tuple(events.PlanItem(video_id=self._video(), score=0.1 * n) for n in range(20)),
            steering=(events.Steer(text="cooking", weight=1.0, embedding=self.embedding()),),
        )  # fmt: skip

    def _feedback(self) -> events.Feedback:
        outcome = events.Outcome(
            video_id=self._video(), position=0, propensity=0.5, source="fresh", actions=("like",), watch_ms=900, reward=0.5,
            parts={"like": 0.5}, features=self._dice.randbytes(80),
        )  # fmt: skip
        return events.Feedback(
            request_id=self._id(), user_id=self._user(), items=(outcome,), served_at=self._at(), closed_at=self._now
        )

    def _release(self) -> events.Release:
        return events.Release(
            name="ranker", version="1", uri="file:///r", sha256="0" * 64, released_at=self._at(), gate={"ndcg": 0.3}
        )

    def _letter(self) -> events.DeadLetter:
        return events.DeadLetter(
            origin="interactions", partition=0, offset=self._dice.randrange(2_000), reason="no JSON", payload=b"{", key=b"k",
            failed_at=self._at(), flow="profile",
        )  # fmt: skip

    def _purged(self) -> events.Purged:
        return events.Purged(
            cause=self._id(), subject=self._dice.choice(("user", "video")), subject_id=self._user(), store="feature log",
            count=self._dice.randrange(9), purged_at=self._at(),
        )  # fmt: skip

    def _heartbeat(self) -> events.Heartbeat:
        return events.Heartbeat(
            process=self._dice.choice(("flow-profile", "api", "up")), instance="host:1", started_at=self._at(), at=self._now,
            events={"interactions": 50}, positions={"interactions": {"0": 100}}, freshness_ms=(4.0, 20.0),
            counters={"dead_letters": 3}, rss_bytes=10**8, cpu_share=0.2, children=(events.Supervised(name="api", pid=7),),
        )  # fmt: skip

    def _span(self) -> events.Span:
        return events.Span(
            trace_id=self._id(), span_id=self._id(), name="tap", process="api", started_at=float(self._at()), took_ms=1.5,
            user_id=self._user(), attributes={"action": "like"},
        )  # fmt: skip

    _MAKE: dict[str, Callable[["Maker"], Any]] = {  # noqa: RUF012
        "uploads": _uploads, "interactions": _interactions, "perceptions": _perception, "video-stats": _stats, "slates": _slate,
        "plans": _plan, "feedback": _feedback, "releases": _release, "dead-letters": _letter, "purges": _purged,
        "heartbeats": _heartbeat, "spans": _span,
    }  # fmt: skip
