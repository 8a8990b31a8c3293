"""A new video is found at once: it joins both indexes of a node within milliseconds, at 100,000 videos, while pages search.

One node's memory, without servers: videos are put into the catalogue one by one, as they are perceived, while another thread
searches both indexes all the time. What the towers' index finds is compared with all dot products.
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from bench import report, world
from models.retrieval.log import History
from serving.catalogue import Catalogue
from serving.settings import FeedSettings
from serving.spaces import Space, load_space

# What a source asks for.
NEAR = 60
VIEWERS = 200


def main(
    videos: Annotated[int, typer.Option(min=1_000, max=1_000_000)] = 100_000,
    added: Annotated[int, typer.Option(min=10, max=100_000, help="videos that come one by one")] = 1_000,
) -> None:
    """Measure how long a new video takes into the indexes, and what the towers' index finds."""
    machine, made = report.machine(), world.make(videos + added, seed=int(time.time()))
    catalogue = Catalogue(FeedSettings())
    perceptions = list(made.perceptions())
    for start in range(0, videos, 1_000):
        catalogue.put(perceptions[start : min(start + 1_000, videos)], now_ms=made.made_at)
    space, loaded_s = _space(catalogue, made)
    rng = np.random.default_rng(made.seed)
    wanted = np.stack(
        [space.wanted(History(rng.integers(videos, size=20), np.ones(20, np.float32), np.arange(20))) for _ in range(VIEWERS)]
    )
    took: list[float] = []
    with _searching(catalogue, space, wanted) as searched:
        for perception in perceptions[videos:]:
            started = time.perf_counter()
            catalogue.put([perception], now_ms=made.made_at)
            took.append((time.perf_counter() - started) * 1000)
    report.histogram(took, unit="ms")
    report.finish(
        "index",
        {
            "index_add_p50_ms": report.percentile(took, 50),
            "index_add_p99_ms": report.percentile(took, 99),
            "search_p50_ms": report.percentile(searched, 50),
            "search_p99_ms": report.percentile(searched, 99),
            "recall": _recall(space, wanted, len(catalogue)),
            "loaded_s": loaded_s,
        },
        budgets={"index_add_p99_ms": "≤ 50"},
        facts={"machine": machine, "videos": videos, "added": added, "near": NEAR, "width": space.towers.width},
    )


def _space(catalogue: Catalogue, made: world.World) -> tuple[Space, float]:
    """Return the space of towers that were trained a little, and the seconds until it served."""
    # Before it, the broker's client and the rest would be loaded for `--help`.
    from bench.learned import towers

    with tempfile.TemporaryDirectory() as folder:
        for name, content in towers(made).items():
            (Path(folder) / name).write_bytes(content)
        began = time.monotonic()
        space = load_space(catalogue, FeedSettings(), threading.Event(), Path(folder), "bench")
        loaded_s = round(time.monotonic() - began, 1)
    assert space is not None, "nothing closes"
    return space, loaded_s


@contextmanager
def _searching(catalogue: Catalogue, space: Space, wanted: NDArray[np.float32]) -> Iterator[list[float]]:
    """Search both indexes as long as the block runs, as a page does; give the milliseconds of each search."""
    took: list[float] = []
    closing = threading.Event()

    def search() -> None:
        while not closing.is_set():
            started = time.perf_counter()
            space.index.nearest(wanted[[len(took) % len(wanted)]], NEAR)
            catalogue.index.nearest(catalogue.vectors(np.array([len(took) % len(catalogue)])), NEAR)
            took.append((time.perf_counter() - started) * 1000)

    thread = threading.Thread(target=search)
    thread.start()
    try:
        yield took
    finally:
        closing.set()
        thread.join()


def _recall(space: Space, wanted: NDArray[np.float32], videos: int) -> float:
    """Return the mean share of the largest dot products that the index finds."""
    scores: NDArray[Any] = wanted @ space.vectors[:videos].T
    best = np.argpartition(-scores, NEAR, axis=1)[:, :NEAR]
    found = [space.index.nearest(vector[None], NEAR) for vector in wanted]
    shares = [len(np.intersect1d(one, other)) / NEAR for one, other in zip(best, found, strict=True)]
    return round(float(np.mean(shares)), 3)


if __name__ == "__main__":
    typer.run(main)
