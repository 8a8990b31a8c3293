"""Hostile input does no harm: mutated events into every topic and endpoint. No crash, memory bounded, every one counted.

In memory each topic's reader runs in a process of its own, so that a crash is seen and is its own. Then a lower count goes
through a real broker into the real flows and API, and through each HTTP endpoint of a real API process.
"""

import gc
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import psutil
import typer
from rich.progress import Progress

from bench import report
from bench.mutations import Mutator
from streams.topics import BY_NAME, Topic

if TYPE_CHECKING:
    from bench.fuzz_targets import Message
    from bench.house import Up

# The first part of a run fills what is bounded: states of all viewers, windows, caches. What grows after it is a leak.
WARM_SHARE = 0.5
TELL_EVERY = 2_000
# How long the flows of a house may take to make dead letters of all that was bad.
SETTLED_S = 300.0

_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Ran:
    """One target's run. `growth_mb` is how much its process grew in the second half."""

    target: str
    sent: dict[str, int]
    accepted: dict[str, int]
    refused: dict[str, int]
    faults: list[str]
    growth_mb: float


def main(
    events: Annotated[int, typer.Option(min=0, help="into each topic's readers in memory")] = 1_000_000,
    live: Annotated[int, typer.Option(min=0, help="into each topic of a running house, through its broker")] = 20_000,
    requests: Annotated[int, typer.Option(min=0, help="to each endpoint of its API")] = 500,
    seed: Annotated[int, typer.Option(help="the same seed sends the same")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="only these targets, as the table names them")] = None,
) -> None:
    """Send hostile input everywhere and see what it does."""
    machine = report.machine()
    with Progress(console=report.console) as progress:
        ran = [run(name, events, seed, progress) for name in targets() if events and (not only or name in only)]
    lived = Lived() if only or not (live or requests) else into_house(live, requests, seed)
    crashes = [name for name, result in ran if result is None]
    results = [result for _, result in ran if result is not None]
    lost = sum(sum(r.sent.values()) - sum(r.accepted.values()) - sum(r.refused.values()) for r in results)
    faults = [*(f"{r.target}: {fault}" for r in results for fault in r.faults), *lived.faults]
    report.finish(
        "fuzz",
        {
            "events": sum(sum(r.sent.values()) for r in results),
            "accepted": sum(sum(r.accepted.values()) for r in results),
            "refused": sum(sum(r.refused.values()) for r in results),
            "unaccounted": lost + lived.unaccounted,
            "crashes": len(crashes) + len(lived.restarted),
            "faults": len(faults),
            "live_events": sum(lived.taken.values()),
            "live_requests": sum(lived.statuses.values()),
            "rss_growth_mb": {r.target: round(r.growth_mb, 1) for r in results} | lived.growth_mb,
        },
        budgets={"unaccounted": "0", "crashes": "0", "faults": "0"},
        facts={
            "machine": machine,
            "seed": seed,
            "by_topic": {r.target: [r.sent, r.accepted, r.refused] for r in results},
            "statuses": lived.statuses,
            "crashed": [*crashes, *lived.restarted],
            "fault": faults[:5],
        },
    )
    raise typer.Exit(1 if crashes or lived.restarted or faults or lost or lived.unaccounted else 0)


@dataclass(frozen=True)
class Lived:
    """What became of a running house: events taken by topic, statuses answered, who fell, who grew by how much."""

    taken: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    unaccounted: int = 0
    restarted: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    growth_mb: dict[str, float] = field(default_factory=dict)


def into_house(events: int, requests: int, seed: int) -> Lived:
    """Send hostile events into every topic, and hostile requests to every endpoint, of a house of its own."""
    from bench.fuzz_live import into_broker, into_http, unanswered
    from bench.house import up

    with up({}) as house, Progress(console=report.console) as progress:
        kafka, url = house.running.settings.kafka, house.running.url
        before = {name: family[0].pid for name, family in house.families().items()}
        # The first of it fills what is bounded.
        into_broker(kafka, events // 4, seed)
        grown = _rss_mb(house)
        topics = progress.add_task("broker", total=events)
        taken = into_broker(kafka, events, seed + 1, tell=lambda done: progress.update(topics, completed=done + 1))
        deadline = time.monotonic() + SETTLED_S
        while any(missing := unanswered(kafka).values()) and time.monotonic() < deadline:
            time.sleep(1.0)
        asked = progress.add_task("endpoints", total=requests)
        answers = into_http(url, requests, seed, tell=lambda done: progress.update(asked, completed=done + 1))
        after, rss = {name: family[0].pid for name, family in house.families().items()}, _rss_mb(house)
    statuses: Counter[str] = Counter()
    for (_, status), count in answers.statuses.items():
        statuses[str(status)] += count
    return Lived(
        taken=dict(taken),
        statuses=dict(sorted(statuses.items())),
        unaccounted=sum(map(len, missing)),
        restarted=[name for name, pid in before.items() if after.get(name) != pid],
        faults=answers.faults[:20],
        growth_mb={f"live {name}": round(rss[name] - mb, 1) for name, mb in grown.items() if name in rss},
    )


def _rss_mb(house: "Up") -> dict[str, float]:
    return {name: family[0].memory_info().rss / 1e6 for name, family in house.families().items()}


def targets() -> list[str]:
    """Return the names of what is aimed at in memory: a flow each, and the memory that follows each other topic."""
    from bench.fuzz_targets import FLOWS, MEMORY

    return [*(f"flow {name}" for name in FLOWS), *(f"memory {topic.name}" for topic in MEMORY)]


def run(name: str, events: int, seed: int, progress: Progress) -> tuple[str, Ran | None]:
    """Run one target in a process of its own and return its name and what came of it, None for a crash."""
    task = progress.add_task(name, total=events)
    ours, theirs = _spawn.Pipe()
    process = _spawn.Process(target=_run, args=(name, events, seed, theirs), daemon=True)
    process.start()
    theirs.close()
    result: Ran | None = None
    try:
        while not isinstance(told := ours.recv(), Ran):
            progress.update(task, completed=told)
        result = told
        progress.update(task, completed=events)
    except EOFError:
        report.console.print(f"{name}: the process ended with status {process.exitcode}", style="red")
    process.join()
    return name, result


def _run(name: str, events: int, seed: int, tell: Any) -> None:
    tell.send(fuzz(name, events, seed, lambda done: tell.send(done)))


def fuzz(name: str, events: int, seed: int, tell: Any = lambda done: None) -> Ran:
    """Send `events` hostile ones to each topic of the target `name`."""
    from bench.fuzz_targets import FLOWS, into_flow, into_memory

    kind, what = name.split(" ", 1)
    topics = FLOWS[what][0] if kind == "flow" else (BY_NAME[what],)
    sent = {topic.name: 0 for topic in topics}
    grown: list[int] = []
    messages = _messages(topics, events, seed, sent, grown, tell)
    counts = into_flow(what, messages, seed=seed) if kind == "flow" else into_memory(topics[0], messages, seed=seed)
    growth_mb = (grown[-1] - grown[0]) / 1e6 if grown else 0.0
    return Ran(name, sent, counts.accepted, counts.refused, counts.faults, growth_mb)


def _messages(
    topics: Iterable[Topic], events: int, seed: int, sent: dict[str, int], grown: list[int], tell: Any
) -> "Iterator[Message]":
    process = psutil.Process()
    mutators = [Mutator(topic, seed) for topic in topics]
    for number in range(events):
        if number in (int(events * WARM_SHARE), events - 1):
            gc.collect()
            grown.append(process.memory_info().rss)
        for mutator in mutators:
            sent[mutator.topic.name] += 1
            yield mutator.topic, mutator.next()
        if number % TELL_EVERY == 0:
            tell(number)


if __name__ == "__main__":
    typer.run(main)
