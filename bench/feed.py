"""The feed is fast: pages at a steady rate from a catalogue of 100,000 live videos, for viewers who have features.

Videos come as the perceive flow publishes them, features as the profile flow writes them; flows, servers, API and load share
the machine. The load is open-loop, and latency counts from when a request was due. Stage times are the trace of explained
pages, asked for after the load. Learned models serve, of the size that they have in production: trained here for a minute.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from statistics import fmean
from typing import Annotated

import httpx
import typer

from bench import report, world
from bench.learned import release
from bench.load import Load, Request
from bench.stack import Running, Where, at_rest, publish, started

# The first seconds fill the API's memory of viewers; their pages are asked for, not timed.
WARM_UP_S = 3.0
EXPLAINED = 100
CATALOGUE_TIMEOUT_S = 300.0


def pages(viewers: list[str], count: int) -> Iterable[Request]:
    """Yield `count` requests for pages, viewer after viewer."""
    for number in range(count):
        yield Request("GET", f"/v1/feed?user_id={viewers[number % len(viewers)]}&limit=10")


def main(
    seconds: Annotated[float, typer.Option(min=1, max=600)] = 30.0,
    rate: Annotated[int, typer.Option(min=1, max=10_000, help="pages a second")] = 100,
    videos: Annotated[int, typer.Option(min=50, max=1_000_000)] = 100_000,
    viewers: Annotated[int, typer.Option(min=1, max=100_000)] = 2_000,
    learned: Annotated[bool, typer.Option(help="with learned models; without, by the parts made by hand")] = True,
    stack: Where = "own",
) -> None:
    """Measure the feed's latency."""
    machine = report.machine()
    made = world.make(videos, seed=int(time.time()))
    users = [made.viewer(number) for number in range(viewers)]
    with started(stack) as running:
        filled_s = _fill(running, made, users)
        if learned:
            report.console.print("models learn …")
            release(running, made)
        at_rest()
        latencies: list[float] = []
        errors = empty = 0
        warm = rate * WARM_UP_S
        for answer in Load(running.url, rate, pages, users, int(rate * (WARM_UP_S + seconds))):
            errors += not answer.ok
            empty += answer.ok and not json.loads(answer.body)["items"]
            if answer.number >= warm:
                latencies.append((answer.ended - answer.due) * 1000)
        stages = _stages(running.url, users[:EXPLAINED])
    report.histogram(latencies, unit="ms")
    report.finish(
        "feed",
        {
            "p50_ms": report.percentile(latencies, 50),
            "p99_ms": report.percentile(latencies, 99),
            "errors": errors,
            "empty_pages": empty,
            "stages_ms": stages,
        },
        budgets={"p99_ms": "≤ 25", "errors": "0", "empty_pages": "0"},
        facts={
            "machine": machine,
            "load": f"{len(latencies)} pages of 10, {rate}/s for {seconds:g} s after {WARM_UP_S:g} s of warm-up, "
            f"{viewers} viewers, {videos} videos",
            "catalogue_filled_s": filled_s,
            "learned": learned,
        },
    )


def _fill(running: Running, made: world.World, users: list[str]) -> float:
    """Publish videos and their statistics, write the viewers' features, and return how long the catalogue took to know all."""
    from feature_repo.writer import FeatureWriter
    from streams.topics import PERCEPTIONS, VIDEO_STATS

    began = time.monotonic()
    publish(running.settings.kafka, VIDEO_STATS, made.stats())
    publish(running.settings.kafka, PERCEPTIONS, made.perceptions())
    with closing(FeatureWriter(running.settings.features)) as features:
        features.write(list(made.features(len(users))))
    with httpx.Client(base_url=running.url) as http:
        # Each partition is read in order, so the last videos stand for all: some of them lie in each.
        for number in range(made.videos - 50, made.videos):
            while http.get(f"/v1/videos/{made.video(number)}").is_error:
                if time.monotonic() > began + CATALOGUE_TIMEOUT_S:
                    raise TimeoutError(f"the catalogue did not know {made.videos} videos within {CATALOGUE_TIMEOUT_S:g} s")
                time.sleep(0.2)
    return round(time.monotonic() - began, 1)


def _stages(url: str, users: list[str]) -> dict[str, float]:
    """Return the mean milliseconds of each stage, over a page for each of `users`."""
    took: defaultdict[str, list[float]] = defaultdict(list)
    with httpx.Client(base_url=url) as http:
        for user in users:
            page = http.get("/v1/feed", params={"user_id": user, "explain": True}).raise_for_status().json()
            for stage in page["trace"]["stages"]:
                took[f"{stage['kind']} {stage['name']}"].append(stage["ms"])
    return {name: round(fmean(values), 3) for name, values in took.items()}


if __name__ == "__main__":
    typer.run(main)
