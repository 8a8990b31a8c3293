"""Dead letters as a node knows them, with the topic in memory."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import httpx
import msgspec
import pytest

from serving.api import create_app
from serving.ops.letters import KEPT, PREVIEW_BYTES, DeadLetterOffice
from streams.dead_letters import LONGEST_PAYLOAD, NotReplayable, mentions, why_not_replayable
from streams.events import DeadLetter
from streams.follower import Followed
from streams.topics import DEAD_LETTERS

pytestmark = pytest.mark.anyio
NOW = 1_800_000_000_000


def letter(payload: bytes = b"{", *, offset: int = 0, key: bytes | None = b"ann", **changes) -> DeadLetter:
    fields = {"origin": "interactions", "partition": 0, "reason": "malformed", "failed_at": NOW + offset, "flow": "profile"}
    return DeadLetter(payload=payload, offset=offset, key=key, **(fields | changes))


@dataclass
class TopicInMemory:
    """The topic as a list of letters by place; what is produced is followed at once, as `follow` is told."""

    office: DeadLetterOffice
    places: list[DeadLetter | None] = field(default_factory=list)
    sent: list[tuple[str, bytes | None, bytes]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    reads: int = 0
    away: bool = False

    def write(self, *letters: DeadLetter) -> None:
        for one in letters:
            self.places.append(one)
            self.office.follow([Followed(DEAD_LETTERS, one.letter_id, one, NOW, 0, len(self.places) - 1)])

    def all(self) -> Iterator[DeadLetter]:
        self.reads += 1
        yield from {one.letter_id: one for one in self.places if one is not None}.values()

    def at(self, partition: int, offset: int) -> DeadLetter | None:
        self.reads += 1
        if self.away:
            raise ConnectionError("no Kafka broker")
        return self.places[offset]

    def replay(self, letters: Sequence[DeadLetter], *, now_ms: int) -> list[DeadLetter]:
        if self.away:
            raise ConnectionError("no Kafka broker")
        for one in letters:
            if (reason := why_not_replayable(one)) is not None:
                raise NotReplayable(reason)
        self.sent += [(one.origin, one.key, one.payload) for one in letters]
        marked = [msgspec.structs.replace(one, replayed_at=now_ms) for one in letters]
        self.write(*marked)
        return marked

    def remove(self, letter_ids: Sequence[str]) -> None:
        self.removed += letter_ids
        for letter_id in letter_ids:
            self.office.follow([Followed(DEAD_LETTERS, letter_id, None, NOW)])


def connected(office: DeadLetterOffice) -> TopicInMemory:
    topic = TopicInMemory(office)
    office.connect(topic, lambda: True)
    return topic


@pytest.fixture
def office() -> DeadLetterOffice:
    return DeadLetterOffice(lambda: NOW)


@pytest.fixture
def topic(office: DeadLetterOffice) -> TopicInMemory:
    return connected(office)


# ── the index ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_letters_are_listed_newest_first_and_filtered(office, topic):
    topic.write(letter(offset=1), letter(offset=2, origin="uploads", reason="Too LARGE"), letter(offset=3, replayed_at=NOW))
    every = office.index.list(origin=None, reason=None, is_open=None, limit=10)
    assert [one.letter_id for one in every.letters] == ["interactions/0/3", "uploads/0/2", "interactions/0/1"]
    assert (every.total, every.open) == (3, 2)
    assert [one.letter_id for one in office.index.list(origin="uploads", reason="large", is_open=True, limit=10).letters] == [
        "uploads/0/2"
    ]
    assert len(office.index.list(origin=None, reason=None, is_open=False, limit=10).letters) == 1
    assert office.index.open_by_flow() == {"profile": 2}


def test_a_letter_that_comes_twice_is_one_and_a_removed_one_is_none(office, topic):
    topic.write(letter(offset=1), letter(offset=1))
    assert (office.index.seen, office.index.list(origin=None, reason=None, is_open=None, limit=9).total) == (1, 1)
    topic.remove(["interactions/0/1"])
    assert office.index.get("interactions/0/1") is None


def test_a_flood_of_letters_keeps_the_memory_bounded_and_drops_replayed_ones_first(office, topic):
    topic.write(letter(offset=0), letter(offset=1, replayed_at=NOW))
    for offset in range(2, KEPT + 1):
        topic.write(letter(b"x" * 20_000, offset=offset, reason="long " * 400))
    assert office.index.list(origin=None, reason=None, is_open=None, limit=1).total == KEPT
    assert office.index.get("interactions/0/1") is None
    assert office.index.get("interactions/0/0") is not None
    topic.write(letter(offset=KEPT + 1))
    assert office.index.get("interactions/0/0") is None
    kept = office.index.get("interactions/0/2")
    assert (len(kept.letter.payload), kept.payload_bytes) == (PREVIEW_BYTES, 20_000)


def test_the_whole_payload_is_read_from_its_place_only_where_it_is_long(office, topic):
    topic.write(letter(b"short", offset=1), letter(b"y" * 9_000, offset=2))
    assert office.whole("interactions/0/1").payload == "short"
    assert topic.reads == 0
    assert office.whole("interactions/0/2").payload == "y" * 9_000
    assert topic.reads == 1


# ── whom a letter mentions ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("payload", "name", "found"),
    [
        (b'{"user_id": "kim-7", "x": 1}', "kim-7", True),
        (b'{"user_id": "kim-70"}', "kim-7", False),
        (b'{"a": [{"media_uri": "file:///m/kim-7/clip.mp4"}]}', "kim-7", True),
        (b'{"kim-7": 1}', "kim-7", True),
        (b'\xff{"user_id": "kim-7', "kim-7", True),
        (b'{"user_id": "kim-70', "kim-7", False),
        ('{"user_id": "Zoë"}'.encode(), "Zoë", True),
        (b'{"user_id": "Zo\\u00eb"}', "Zoë", True),
        (b'\xff{"user_id": "Zo\\u00eb-12"', "Zoë-12", True),
        # A short id is looked for as a whole: as a word it is in half of all letters.
        (b'{"user_id": "u"}', "u", True),
        (b'{"text": "I love u"}', "u", False),
        (b'\xff"u"', "u", True),
        (b"\xffI love u", "u", False),
        (b'{"user_id": 12, "position": 1}', "12", True),
        (b'{"user_id": 12, "position": 1}', "1", False),
        (b"[" * 100_000, "kim-7", False),
    ],
)
def test_a_letter_mentions_whom_its_payload_names(payload, name, found):
    assert mentions(letter(payload, key=None), name) is found


def test_a_letter_mentions_its_key_and_whom_its_reason_names():
    assert mentions(letter(b"\xff", key=b"u"), "u")
    assert mentions(letter(b"\xff", key=None, reason="video clip-9: no file"), "clip-9")


# ── forgetting ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_forgetting_removes_every_letter_that_mentions_the_viewer_and_no_other(office, topic):
    topic.write(letter(b'{"user_id": "kim-7"}', offset=1), letter(offset=2, key=b"kim-7"), letter(b"kim-70", offset=3))
    assert office.forget("kim-7") == 2
    assert sorted(topic.removed) == ["interactions/0/1", "interactions/0/2"]
    assert topic.reads == 0
    assert office.index.get("interactions/0/3") is not None


def test_what_is_not_wholly_in_memory_is_looked_for_in_the_topic(office, topic):
    topic.write(letter(b" " * 10_000 + b'{"user_id": "kim-7"}', offset=1, key=None))
    assert office.forget("kim-7") == 1
    assert topic.reads == 1


def test_a_letter_that_was_on_its_way_is_removed_when_it_comes(office, topic):
    assert office.forget("kim-7") == 0
    topic.write(letter(b'{"user_id": "kim-7"}', offset=1), letter(b'{"user_id": "ann"}', offset=2))
    assert topic.removed == ["interactions/0/1"]


# ── over HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def served(world) -> TopicInMemory:
    return connected(world.node.ops.letters)


def client(world) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(world.node)), base_url="http://localhost")


async def test_a_replayed_letter_goes_to_its_topic_with_its_key_and_is_marked(world, served):
    served.write(letter(b'{"fixed": true}', offset=5))
    async with client(world) as http:
        answer = await http.post("/v1/dead-letters/interactions/0/5/replay")
        assert answer.status_code == 202
        assert answer.json()["replayed_at"] == world.now
        assert served.sent == [("interactions", b"ann", b'{"fixed": true}')]
        listed = (await http.get("/v1/dead-letters")).json()
        assert (listed["total"], listed["open"]) == (1, 0)
        assert (await http.get("/v1/dead-letters", params={"open": "true"})).json()["letters"] == []


async def test_a_cut_letter_can_be_read_and_not_replayed(world, served):
    served.write(letter(b"x" * LONGEST_PAYLOAD, offset=5))
    async with client(world) as http:
        read = (await http.get("/v1/dead-letters/interactions/0/5")).json()
        assert (read["whole"], read["payload_bytes"], len(read["payload"])) == (False, LONGEST_PAYLOAD, LONGEST_PAYLOAD)
        answer = await http.post("/v1/dead-letters/interactions/0/5/replay")
        assert answer.status_code == 409
        assert "was cut at 600000 bytes" in answer.json()["error"]["message"]


async def test_an_unknown_letter_is_not_found_and_a_broker_that_is_away_is_busy(world, served):
    served.write(letter(b"z" * 9_000, offset=5))
    served.away = True
    async with client(world) as http:
        for path in ("interactions/0/6", "nonsense", "%2e%2e/etc"):
            assert (await http.get(f"/v1/dead-letters/{path}")).status_code == 404
            assert (await http.post(f"/v1/dead-letters/{path}/replay")).status_code == 404
        for answer in (await http.get("/v1/dead-letters/interactions/0/5"),
                       await http.post("/v1/dead-letters/interactions/0/5/replay")):  # fmt: skip
            assert answer.status_code == 503
            assert answer.json()["error"]["type"] == "busy"


async def test_an_erasure_and_a_takedown_remove_the_letters_that_mention_them(world, served):
    served.write(letter(json.dumps({"user_id": "kim-7"}).encode(), offset=1), letter(b"cooking-0", offset=2, key=None))
    async with client(world) as http:
        for path in ("/v1/users/kim-7", "/v1/videos/cooking-0"):
            stores = {store["store"]: store for store in (await http.delete(path)).json()["stores"]}
            assert (stores["dead-letters topic"]["status"], stores["dead-letters topic"]["purged"]) == ("purged", 1)
    assert served.removed == ["interactions/0/1", "interactions/0/2"]
