"""A new video is found at once: it joins both indexes of a node within milliseconds, at 100,000 videos, while pages search.

One API node's memory, without servers: videos are put into the catalogue one by one, as they are perceived, while another thread
searches both indexes as fast as it can. What the towers' index finds is compared with all dot products.
"""

import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from bench import report, world


def main(
    videos: Annotated[int, typer.Option(min=1_000, max=1_000_000)] = 100_000,
    added: Annotated[int, typer.Option(min=10, max=100_000, help="videos that come one by one")] = 1_000,
    near: Annotated[int, typer.Option(min=1, help="videos that a search asks for")] = 60,
) -> None:
    """Measure how long a new video takes into the indexes, and what the towers' index finds."""
    from bench.learned import towers
    from serving.catalogue import Catalogue
    from serving.settings import FeedSettings
    from serving.spaces import Spaces

    made = world.make(videos + added, seed=int(time.time()))
    settings = FeedSettings()
    catalogue = Catalogue(settings)
    spaces = Spaces(catalogue, settings)
    perceptions = list(made.perceptions())
    for start in range(0, videos, 1_000):
        catalogue.put(perceptions[start : start + 1_000], now_ms=made.made_at)
    began = time.monotonic()
    files = towers(made)
    trained_s = time.monotonic() - began
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        began = time.monotonic()
        spaces.load(Path(folder), "bench")
        loaded_s = time.monotonic() - began
    space = spaces.current
    assert space is not None
    rng = np.random.default_rng(made.seed)
    wanted = np.stack([space.wanted(rng.integers(videos, size=20)) for _ in range(200)])
    searched: list[float] = []
    closing = threading.Event()

    def search() -> None:
        while not closing.is_set():
            started = time.perf_counter()
            space.index.nearest(wanted[len(searched) % len(wanted)][None], near)
            catalogue.index.nearest(made.embeddings[len(searched) % videos][None], near)
            searched.append((time.perf_counter() - started) * 1000)

    thread = threading.Thread(target=search)
    thread.start()
    took = []
    for perception in perceptions[videos:]:
        started = time.perf_counter()
        catalogue.put([perception], now_ms=made.made_at)
        took.append((time.perf_counter() - started) * 1000)
    closing.set()
    thread.join()
    report.histogram(took, unit="ms")
    report.finish(
        "index",
        {
            "index_add_p50_ms": report.percentile(took, 50),
            "index_add_p99_ms": report.percentile(took, 99),
            "search_p50_ms": report.percentile(searched, 50),
            "search_p99_ms": report.percentile(searched, 99),
            "recall": _recall(space.vectors[: len(catalogue)], wanted, [space.index.nearest(each[None], near) for each in wanted]),
            "loaded_s": round(loaded_s, 1),
        },
        budgets={"index_add_p99_ms": "≤ 50"},
        facts={
            "machine": report.machine(),
            "videos": videos,
            "added": added,
            "near": near,
            "width": space.towers.width,
            "trained_s": round(trained_s, 1),
        },
    )


def _recall(vectors: "np.ndarray", wanted: "np.ndarray", found: "list[np.ndarray]") -> float:
    """Return the mean share of the largest dot products that were found."""
    shares = []
    for vector, rows in zip(wanted, found, strict=True):
        best = np.argpartition(-(vectors @ vector), len(rows))[: len(rows)]
        shares.append(len(np.intersect1d(best, rows)) / len(rows))
    return round(float(np.mean(shares)), 3)


if __name__ == "__main__":
    typer.run(main)
