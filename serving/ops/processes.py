"""What processes say of themselves, as it is heard on `heartbeats`: who runs, how fast, how far, and how fresh features are."""

import threading
from collections import deque
from collections.abc import Mapping

from serving.ops.offsets import Offsets
from serving.ops.view import FlowView
from streams.events import Heartbeat, Supervised
from streams.topics import INTERACTIONS, SLATES, UPLOADS

# A process that beats every second and was not heard for this long is silent: shorter, and a busy machine looks dead.
SILENT_MS = 5_000
# Who beats every second and was heard this lately keeps up with its beat.
LATE_MS = 2_500
# Rates and freshness are of this long a time: shorter ones flicker with a few events a second.
OVER_MS = 10_000
# One that was not heard for an hour is a name of the past.
FORGOTTEN_MS = 3_600_000
# Far more than run in one place; what claims more is somebody's mistake.
MOST = 64
FLOW = "flow-"
SUPERVISOR = "supervisor"
# The flows that there should be, and what they take: one that was never heard is behind by all of it.
TAKES = {
    "perceive": (UPLOADS.name,),
    "profile": (INTERACTIONS.name,),
    "rerank": (INTERACTIONS.name, SLATES.name),
    "feedback": (INTERACTIONS.name, SLATES.name),
}


class _Heard:
    """The last heartbeats of one process, oldest first, each with the broker's time of it."""

    def __init__(self) -> None:
        self.beats: deque[tuple[int, Heartbeat]] = deque(maxlen=1 + OVER_MS // 1000)
        self.instances = 0

    @property
    def newest(self) -> Heartbeat:
        return self.beats[-1][1]

    @property
    def at(self) -> int:
        return self.beats[-1][0]

    def take(self, beat: Heartbeat, at: int) -> None:
        if self.beats and beat.instance != self.newest.instance:
            if beat.started_at < self.newest.started_at:
                # The last word of the one before.
                return
            self.beats.clear()
        if not self.beats:
            self.instances += 1
        self.beats.append((at, beat))

    def lately(self, now_ms: int) -> list[tuple[int, Heartbeat]]:
        return [(at, beat) for at, beat in self.beats if at > now_ms - OVER_MS]

    def events_per_s(self, now_ms: int) -> float:
        lately = self.lately(now_ms)
        if len(lately) < 2:
            return 0.0
        # The first says what came before it. Until now, not until the last word: who has fallen silent takes nothing.
        taken = sum(sum(beat.events.values()) for _, beat in lately[1:])
        return taken / max(1.0, (now_ms - lately[0][0]) / 1000)

    def freshness_ms(self, now_ms: int) -> tuple[float, float] | None:
        known = [beat.freshness_ms for _, beat in self.lately(now_ms) if beat.freshness_ms is not None]
        return known[-1] if known else None


class Processes:
    """The newest word of every process. Times are the broker's, so that no other machine's clock can make one look dead."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}
        self._changing = threading.Lock()

    def take(self, beat: Heartbeat, at: int) -> None:
        """Take in a heartbeat that the broker had at `at`, Unix ms."""
        # Of several nodes of the API each is a process of its own; of a flow there is one.
        name = f"{beat.process} {beat.instance}" if beat.process == "api" else beat.process
        with self._changing:
            if name not in self._heard:
                self._forget(at)
                if len(self._heard) >= MOST:
                    return
                self._heard[name] = _Heard()
            self._heard[name].take(beat, at)

    def _forget(self, now_ms: int) -> None:
        self._heard = {name: heard for name, heard in self._heard.items() if heard.at > now_ms - FORGOTTEN_MS}

    def newest(self, now_ms: int) -> dict[str, Heartbeat]:
        """Return the newest heartbeat of every process that is not silent."""
        with self._changing:
            return {name: heard.newest for name, heard in self._heard.items() if heard.at > now_ms - SILENT_MS}

    def supervised(self, now_ms: int) -> dict[str, Supervised] | None:
        """Return what the supervisor says of each process that it keeps, None where none is heard."""
        with self._changing:
            heard = self._heard.get(SUPERVISOR)
            if heard is None or heard.at <= now_ms - SILENT_MS:
                return None
            return {child.name: child for child in heard.newest.children}

    def flows(self, now_ms: int, offsets: Offsets, letters: Mapping[str, int]) -> list[FlowView]:
        """Return every flow that there should be or that is; `letters` are the open dead letters by flow."""
        supervised = self.supervised(now_ms) or {}
        with self._changing:
            others = [name.removeprefix(FLOW) for name in self._heard if name.startswith(FLOW)]
            names = list(dict.fromkeys([*TAKES, *sorted(others)]))
            return [
                _view(name, self._heard.get(FLOW + name), supervised.get(FLOW + name), now_ms, offsets, letters.get(name, 0))
                for name in names
            ]


def _view(name: str, heard: _Heard | None, child: Supervised | None, now_ms: int, offsets: Offsets, letters: int) -> FlowView:
    restarts = child.restarts if child is not None else max(0, heard.instances - 1) if heard is not None else 0
    if heard is None:
        silent_s = (now_ms - child.started_at) / 1000 if child is not None else 0.0
        # One that has just been started has had no time yet to say anything.
        starting = child is not None and silent_s * 1000 < SILENT_MS
        return FlowView(
            name=name, state="restarting" if starting else "silent", lag_events=offsets.behind(TAKES.get(name, ()), {}),
            events_per_s=0.0, freshness_p50_ms=None, freshness_p99_ms=None, restarts=restarts, up_s=0.0,
            silent_s=silent_s, rss_bytes=0, cpu_share=0.0, dead_letters=letters,
        )  # fmt: skip
    beat = heard.newest
    silent_ms = max(0, now_ms - heard.at)
    died = child is not None and (not child.running or child.started_at > beat.at)
    state = "restarting" if died else "silent" if silent_ms > SILENT_MS else "running"
    freshness = heard.freshness_ms(now_ms) or (None, None)
    return FlowView(
        name=name,
        state=state,  # type: ignore[arg-type]
        lag_events=offsets.behind(
            beat.positions or TAKES.get(name, ()), beat.positions, as_of_ms=heard.at if silent_ms <= LATE_MS else None
        ),
        events_per_s=heard.events_per_s(now_ms),
        freshness_p50_ms=freshness[0],
        freshness_p99_ms=freshness[1],
        restarts=restarts,
        up_s=max(0.0, (now_ms - beat.started_at) / 1000) if state == "running" else 0.0,
        silent_s=silent_ms / 1000,
        rss_bytes=beat.rss_bytes if state == "running" else 0,
        cpu_share=beat.cpu_share if state == "running" else 0.0,
        dead_letters=letters,
        counters=beat.counters,
    )
