"""Dead letters as this node knows them: the newest thousand with the beginning of each, and what is done with them."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from serving.ops.view import Letters, LetterView
from streams.clock import Clock
from streams.dead_letters import LONGEST_PAYLOAD, mentions
from streams.events import DeadLetter
from streams.follower import Followed
from streams.topics import DEAD_LETTERS

# More than anyone reads, and 5 MB at most; `headwater dead-letters` reads all there are.
KEPT = 1_000
PREVIEW_BYTES = 4_096
# How long a letter of somebody who was forgotten may still be on its way here.
_FORGETTING_MS = 60_000


class LetterBox(Protocol):
    """The letters in Kafka; `DeadLetters` is one. What can't be done now is a ConnectionError or TimeoutError."""

    def all(self) -> Iterator[DeadLetter]: ...

    def at(self, partition: int, offset: int) -> DeadLetter | None: ...

    def replay(self, letters: Sequence[DeadLetter], *, now_ms: int) -> list[DeadLetter]: ...

    def remove(self, letter_ids: Sequence[str]) -> None: ...


class Kept(Struct, frozen=True):
    """A letter with the beginning of its payload, how long all of it is, and where it lies in the topic."""

    letter: DeadLetter
    payload_bytes: int
    partition: int
    offset: int


class LetterIndex:
    """The newest letters by id. Safe to use from several threads."""

    def __init__(self, clock: Clock, kept: int = KEPT) -> None:
        self.seen = 0
        self._clock = clock
        self._most = kept
        self._kept: dict[str, Kept] = {}
        # What is not in memory is looked for in Kafka; until something was left out there is no need to.
        self._left_out = False
        self._forgetting: deque[tuple[int, str]] = deque(maxlen=1_000)
        self._changing = threading.Lock()

    def follow(self, batch: Sequence[Followed]) -> list[str]:
        """Take over a batch as a Follower hands it over; return the ids of letters of whom was forgotten a moment ago."""
        late = []
        for followed in batch:
            letter = followed.event
            if isinstance(letter, DeadLetter):
                self._put(letter, followed.partition, followed.offset)
                if any(mentions(letter, name) for name in self._being_forgotten()):
                    late.append(letter.letter_id)
            elif followed.topic is DEAD_LETTERS and letter is None:
                with self._changing:
                    self._kept.pop(followed.key, None)
        return late

    def _put(self, letter: DeadLetter, partition: int, offset: int) -> None:
        size = len(letter.payload)
        preview = msgspec.structs.replace(letter, payload=letter.payload[:PREVIEW_BYTES], reason=letter.reason[:PREVIEW_BYTES])
        with self._changing:
            before = self._kept.pop(letter.letter_id, None)
            self.seen += before is None
            self._left_out = self._left_out or size > PREVIEW_BYTES
            self._kept[letter.letter_id] = Kept(preview, size, partition, offset)
            if len(self._kept) > self._most:
                self._left_out = True
                # The oldest that was answered goes first: what is open is what this is for.
                done = next((name for name, one in self._kept.items() if one.letter.replayed_at is not None), None)
                del self._kept[done or next(iter(self._kept))]

    def _being_forgotten(self) -> list[str]:
        oldest = self._clock() - _FORGETTING_MS
        return [name for at, name in list(self._forgetting) if at > oldest]

    def forgetting(self, name: str) -> bool:
        """Take note that a viewer or video is forgotten from now on; return whether this index holds all of every letter."""
        self._forgetting.append((self._clock(), name))
        return not self._left_out

    def mentioning(self, name: str) -> list[str]:
        """Return the ids of the kept letters that mention a viewer or video in what is kept of them."""
        with self._changing:
            kept = list(self._kept.values())
        return [one.letter.letter_id for one in kept if mentions(one.letter, name)]

    def get(self, letter_id: str) -> Kept | None:
        """Return a letter, None where it is not kept."""
        with self._changing:
            return self._kept.get(letter_id)

    def list(self, *, origin: str | None, reason: str | None, is_open: bool | None, limit: int) -> Letters:
        """Return the newest letters that are wanted, newest first."""
        with self._changing:
            kept = sorted(self._kept.values(), key=lambda one: one.letter.failed_at, reverse=True)
        wanted = [
            one
            for one in kept
            if (origin is None or one.letter.origin == origin)
            and (reason is None or reason.casefold() in one.letter.reason.casefold())
            and (is_open is None or (one.letter.replayed_at is None) == is_open)
        ]
        return Letters([letter_view(one) for one in wanted[:limit]], total=len(kept), open=_open(kept))

    def drop(self, letter_ids: Sequence[str]) -> None:
        """Forget letters that were removed from Kafka."""
        with self._changing:
            for letter_id in letter_ids:
                self._kept.pop(letter_id, None)

    def open_by_flow(self) -> Counter[str]:
        """Return how many letters of each flow were not replayed."""
        with self._changing:
            return Counter(one.letter.flow for one in self._kept.values() if one.letter.replayed_at is None)


def _open(kept: Sequence[Kept]) -> int:
    return sum(one.letter.replayed_at is None for one in kept)


def letter_view(kept: Kept) -> LetterView:
    """Return what to tell of a letter."""
    letter = kept.letter
    return LetterView(
        letter_id=letter.letter_id,
        origin=letter.origin,
        flow=letter.flow,
        reason=letter.reason,
        key=None if letter.key is None else letter.key.decode("utf-8", "backslashreplace"),
        payload=letter.payload.decode("utf-8", "backslashreplace"),
        payload_bytes=kept.payload_bytes,
        whole=0 < kept.payload_bytes < LONGEST_PAYLOAD,
        failed_at=letter.failed_at,
        replayed_at=letter.replayed_at,
    )


class NoLetter(LookupError):
    """There is no such letter here."""


class DeadLetterOffice:
    """What operators do with letters. Each call may wait for the broker: not for the event loop's thread."""

    def __init__(self, clock: Clock) -> None:
        self.index = LetterIndex(clock)
        self._clock = clock
        self._box: LetterBox | None = None
        self._caught_up: Callable[[], bool] = lambda: True

    def connect(self, box: LetterBox, caught_up: Callable[[], bool]) -> None:
        """Work on the letters in `box` from now on; `caught_up` tells whether all of them were followed once."""
        self._box, self._caught_up = box, caught_up

    def follow(self, batch: Sequence[Followed]) -> None:
        """Take over a batch as a Follower hands it over."""
        late = self.index.follow(batch)
        if late and self._box is not None:
            self._box.remove(late)

    def whole(self, letter_id: str) -> LetterView:
        """Return a letter with all of its payload.

        Raises:
            NoLetter: there is none here.
            ConnectionError: the broker does not answer.
        """
        letter = self._whole(letter_id)
        return letter_view(Kept(letter, len(letter.payload), 0, 0))

    def replay(self, letter_id: str) -> LetterView:
        """Send a letter again, and mark it.

        Raises:
            NoLetter, NotReplayable, ConnectionError.
        """
        letter = self._whole(letter_id)
        assert self._box is not None, "without a box there are no letters"
        (letter,) = self._box.replay([letter], now_ms=self._clock())
        return letter_view(Kept(letter, len(letter.payload), 0, 0))

    def forget(self, name: str) -> int:
        """Let go of every letter that mentions a viewer or video, now or within a minute; return how many went now.

        Where a letter is not wholly in memory, all of them are read from Kafka.

        Raises:
            ConnectionError, TimeoutError: the broker does not answer.
        """
        in_memory = self.index.forgetting(name) and self._caught_up()
        if self._box is None:
            return 0
        if in_memory:
            found = self.index.mentioning(name)
        else:
            found = [letter.letter_id for letter in self._box.all() if mentions(letter, name)]
        self._box.remove(found)
        self.index.drop(found)
        return len(found)

    def _whole(self, letter_id: str) -> DeadLetter:
        kept = self.index.get(letter_id)
        if kept is None or self._box is None:
            raise NoLetter(f"this node keeps no dead letter {letter_id}; `headwater dead-letters list` reads all there are")
        if kept.payload_bytes <= PREVIEW_BYTES and len(kept.letter.reason) < PREVIEW_BYTES:
            return kept.letter
        letter = self._box.at(kept.partition, kept.offset)
        if letter is None:
            raise NoLetter(f"dead letter {letter_id} is gone from its topic: it has expired, or was erased")
        return letter
