"""Models for a synthetic world, of the size that serves: what they cost is measured with them, not how well they find."""

import time
from dataclasses import replace

import httpx
import numpy as np

from bench.stack import Running, publish
from bench.world import World
from models.learning.releases import write
from models.retrieval.export import export
from models.retrieval.log import WatchLog
from models.retrieval.recipe import Recipe
from models.retrieval.training import train
from streams.clock import now_ms
from streams.topics import RELEASES

LOAD_TIMEOUT_S = 300.0


def watches(world: World, viewers: int, each: int) -> WatchLog:
    """Return a log of viewers who watch `each` videos of one topic."""
    rng = np.random.default_rng(world.seed + 3)
    of_topic = [np.flatnonzero(world.topic_of == topic) for topic in np.unique(world.topic_of)]
    chosen = [rng.choice(of_topic[rng.integers(len(of_topic))], each) for _ in range(viewers)]
    return WatchLog(
        viewer_ids=tuple(world.viewer(number) for number in range(viewers)),
        video_ids=tuple(world.video(number) for number in range(world.videos)),
        texts=tuple(perception.summary for perception in world.perceptions()),
        bounds=np.arange(viewers + 1) * each,
        videos=np.concatenate(chosen).astype(np.int64),
        at=np.arange(viewers * each),
        interest=np.ones(viewers * each, np.float32),
    )


def towers(world: World, *, viewers: int = 400, each: int = 20) -> dict[str, bytes]:
    """Return the files of towers that saw a little of a world once: a few steps, some seconds each at 100,000 videos."""
    log = watches(world, viewers, each)
    recipe = replace(Recipe(), epochs=1, negatives=4_096, seed=world.seed % 2**31)
    return export(train(log, world.embeddings, recipe), log)


def release(running: Running, world: World) -> None:
    """Train towers for a world, release them, and return once the node serves by them.

    Raises:
        TimeoutError: it did not load them.
    """
    made = write(running.settings.learning.releases, "towers", towers(world), figures={}, at=now_ms())
    publish(running.settings.kafka, RELEASES, [made])
    deadline = time.monotonic() + LOAD_TIMEOUT_S
    with httpx.Client(base_url=running.url) as http:
        while time.monotonic() < deadline:
            servers = http.get("/v1/ops").raise_for_status().json()["servers"]
            if any(server["name"] == "towers" and made.version in server["detail"] for server in servers):
                return
            time.sleep(0.2)
    raise TimeoutError(f"the node did not load {made.version} within {LOAD_TIMEOUT_S:g} s")
