"""The topic `dead-letters` as a box of letters: read one, send some again, let go of those that mention somebody."""

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from streams.codec import BadEvent, decode, encode
from streams.events import DeadLetter
from streams.kafka import KafkaSettings, check_broker, consumer_config, producer_config
from streams.topics import BY_NAME, DEAD_LETTERS

# A letter's payload is cut at this length; sent again it would only be another bad event.
LONGEST_PAYLOAD = 600_000
# A shorter id is looked for as a whole value only: as a word, "1" or "me" is in half of all letters.
_WORD_FROM = 4
_READ_TIMEOUT_S = 60.0
_ACCEPT_TIMEOUT_S = 15.0


class NotReplayable(ValueError):
    """This letter can't be sent again. The message says why."""


def why_not_replayable(letter: DeadLetter) -> str | None:
    """Return why a letter can't be sent again, None where it can."""
    if letter.origin not in BY_NAME:
        return f"{letter.letter_id}: there is no topic {letter.origin!r} to send it to"
    if not letter.payload:
        return f"{letter.letter_id}: it came without a payload"
    if len(letter.payload) >= LONGEST_PAYLOAD:
        return f"{letter.letter_id}: its payload was cut at {LONGEST_PAYLOAD} bytes"
    return None


def mentions(letter: DeadLetter, name: str) -> bool:
    """Tell whether a letter has to do with a viewer or video: by its key, its reason, or anywhere in its payload.

    Rather one too many: a letter is input that nobody could use, and an id that is left in one was not erased.
    """
    if letter.key == name.encode():
        return True
    word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    if len(name) >= _WORD_FROM and word.search(letter.reason):
        return True
    try:
        payload = msgspec.json.decode(letter.payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        forms = {f'"{name}"', json.dumps(name)} if len(name) < _WORD_FROM else {name, json.dumps(name)[1:-1]}
        return any(re.search(rb"(?<!\w)" + re.escape(form.encode()) + rb"(?!\w)", letter.payload) for form in forms)
    return _holds(payload, name, word)


def _holds(payload: Any, name: str, word: re.Pattern[str]) -> bool:
    """Tell whether `name` is in any text of a JSON value, or a number that is called an id."""
    left: list[tuple[str, Any]] = [("", payload)]
    while left:
        field, value = left.pop()
        match value:
            case str():
                if value == name or (len(name) >= _WORD_FROM and word.search(value)):
                    return True
            case dict():
                left += [pair for key, held in value.items() for pair in ((field, key), (key, held))]
            case list():
                left += [(field, held) for held in value]
            case int() | float():
                if field.endswith("id") and str(value) == name:
                    return True
    return False


class DeadLetters:
    """The letters in Kafka. Every call opens clients of its own: they are rare, and nobody waits behind them."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka

    def all(self) -> Iterator[DeadLetter]:
        """Yield every letter as it is now, one at a time, in no particular order but that of their first writing.

        Raises:
            ConnectionError: no broker answers.
            TimeoutError: the topic could not be read to its end.
        """
        newest: dict[str, tuple[int, int]] = {}
        for partition, offset, key, letter in self._read():
            if letter is None:
                newest.pop(key, None)
            else:
                newest[key] = partition, offset
        current = set(newest.values())
        for partition, offset, _, letter in self._read():
            if letter is not None and (partition, offset) in current:
                yield letter

    def at(self, partition: int, offset: int) -> DeadLetter | None:
        """Return the letter at a place of the topic, None where it is no longer there.

        Raises:
            ConnectionError: no broker answers.
        """
        with self._consumer() as consumer:
            consumer.assign([TopicPartition(DEAD_LETTERS.name, partition, offset)])
            deadline = time.monotonic() + _ACCEPT_TIMEOUT_S
            while time.monotonic() < deadline:
                message = consumer.poll(0.5)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    same = message.offset() == offset and message.value() is not None
                    return decode(DEAD_LETTERS, message.value()) if same else None
                if error.code() == KafkaError._PARTITION_EOF:
                    return None
        raise ConnectionError(f"dead-letters[{partition}]@{offset} was not read within {_ACCEPT_TIMEOUT_S:g} s")

    def replay(self, letters: Sequence[DeadLetter], *, now_ms: int) -> list[DeadLetter]:
        """Send each letter's payload, with its key, to the topic it came from; then write it again as replayed, and return it.

        In this order: a letter is marked only once the broker has what it carried.

        Raises:
            NotReplayable: one of them can't be; then none is sent.
            ConnectionError: the broker did not take all of them; those that it took are not marked. Sending them again is safe.
        """
        for letter in letters:
            if (reason := why_not_replayable(letter)) is not None:
                raise NotReplayable(reason)
        replayed = [msgspec.structs.replace(letter, replayed_at=now_ms) for letter in letters]
        if letters:
            producer = self._producer()
            _deliver(producer, [(letter.origin, letter.key, letter.payload) for letter in letters])
            _deliver(producer, [(DEAD_LETTERS.name, letter.letter_id.encode(), encode(letter)) for letter in replayed])
        return replayed

    def remove(self, letter_ids: Sequence[str]) -> None:
        """Let go of letters for good, by tombstones.

        Raises:
            ConnectionError: the broker did not take all of them.
        """
        if letter_ids:
            _deliver(self._producer(), [(DEAD_LETTERS.name, letter_id.encode(), None) for letter_id in letter_ids])

    def _producer(self) -> Producer:
        own = {"delivery.timeout.ms": int(_ACCEPT_TIMEOUT_S * 1000), "log_level": 0}
        return Producer(producer_config(self._kafka) | own)

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        check_broker(self._kafka, timeout_s=5.0)
        # Letters are read a few at a time: what is fetched ahead of that is memory that the process never gives back.
        small = {"queued.max.messages.kbytes": 2_048, "fetch.max.bytes": 2_000_000, "max.partition.fetch.bytes": 2_000_000}
        own = {"group.id": "headwater-dead-letters", "enable.partition.eof": True, "log_level": 0} | small
        consumer = Consumer(consumer_config(self._kafka) | own)
        try:
            yield consumer
        finally:
            consumer.close()

    def _read(self) -> Iterator[tuple[int, int, str, DeadLetter | None]]:
        """Yield partition, offset, key and letter (None: a tombstone) of all that is in the topic now."""
        with self._consumer() as consumer:
            found = consumer.list_topics(DEAD_LETTERS.name, timeout=5.0).topics[DEAD_LETTERS.name]
            unread = set(found.partitions)
            consumer.assign([TopicPartition(DEAD_LETTERS.name, partition, OFFSET_BEGINNING) for partition in unread])
            deadline = time.monotonic() + _READ_TIMEOUT_S
            while unread:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"dead-letters was not read to its end within {_READ_TIMEOUT_S:g} s")
                # A few at a time: each may be close to a megabyte.
                for message in consumer.consume(50, 0.2):
                    error = message.error()
                    if error is None:
                        deadline = time.monotonic() + _READ_TIMEOUT_S
                        key = (message.key() or b"").decode("utf-8", "replace")
                        place = message.partition() or 0, message.offset() or 0
                        value = message.value()
                        try:
                            yield *place, key, None if value is None else decode(DEAD_LETTERS, value)
                        except BadEvent:
                            continue
                    elif error.code() == KafkaError._PARTITION_EOF:
                        unread.discard(message.partition())
                    elif error.fatal():
                        raise ConnectionError(str(KafkaException(error)))


def _deliver(producer: Producer, records: Sequence[tuple[str, bytes | None, bytes | None]]) -> None:
    """Return once the broker has all `records`, of topic, key and value each; raise ConnectionError where it does not."""
    refused: list[str] = []

    def answered(error: KafkaError | None, _message: Any) -> None:
        if error is not None:
            refused.append(error.str())

    for topic, key, value in records:
        while True:
            try:
                producer.produce(topic, value, key=key, on_delivery=answered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = int(producer.flush(_ACCEPT_TIMEOUT_S + 5.0))
    if left or refused:
        reason = refused[0] if refused else "no answer"
        raise ConnectionError(f"{left + len(refused)} of {len(records)} records were not taken by the broker ({reason})")
