"""A new video is understood: labelled clips find their labels by their frames alone, within seconds, on two cores.

Also what a title alone costs, what Triton gains by batching, and whether titles that the same viewers watch lie together.
"""

import resource
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import psutil
import typer

from bench import report
from bench.stack import own_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.perception.agent import PerceptionAgent
    from models.perception.encoders import Encoders
    from models.perception.evaluation.clips import LabelledClip
    from models.retrieval.log import WatchLog
    from streams.features import Vector

DATA = Path("../shared/data")
# Requests of one text each, one after the other and so many at once: the same work, which only the second can batch.
REQUESTS, AT_ONCE = 400, 32
TITLES = 100


def main(
    clips: Annotated[Path, typer.Option(help="folder with clips.csv (file, label) and the files")] = DATA / "clips",
    microlens: Annotated[Path, typer.Option(help="folder with videos and interactions files")] = DATA / "microlens",
    viewers: Annotated[int, typer.Option(help="viewers whose titles are compared")] = 8_000,
    learn: Annotated[bool, typer.Option(help="compare titles by what the video tower learned from other viewers, too")] = True,
    seed: Annotated[int, typer.Option(help="of the viewers, the pairs of titles, and the tower")] = 0,
) -> None:
    """Measure perception against its budgets; needs real clips."""
    from headwater.encoders import perception_of
    from models.perception.agent import PerceptionAgent
    from models.perception.evaluation import clips as evaluation
    from models.settings import MediaSettings

    report.console.print(report.machine())
    found = evaluation.labelled(clips)
    with own_settings() as settings, perception_of(settings, report.console) as (encoders, writer):
        media = MediaSettings(roots=(clips.resolve(),))
        within_s = settings.understanding.timeout_s
        # First of all, so that no text comes from Triton's cache.
        with report.console.status("perceiving clips, all steps"):
            first = evaluation.evaluate(found, encoders, writer, media, depths=["+ rewrite"], rewrite_within_s=within_s)
        with report.console.status("perceiving clips, a step deeper each time"):
            others = [name for name in evaluation.DEPTHS if name != "+ rewrite"]
            rest = evaluation.evaluate(first.clips, encoders, writer, media, depths=others, rewrite_within_s=within_s)
        agent = PerceptionAgent(encoders, writer, media, rewrite_within_s=within_s)
        with report.console.status("perceiving clips, two at once"):
            clips_per_min = _clips_per_min(agent, first.clips)
        with report.console.status("titles and batches"):
            title_ms = _title_ms(agent)
            batched, unbatched = _texts_per_s(encoders)
        coherence = _coherence(encoders, microlens, viewers, learn, seed) if microlens.is_dir() else {}
        triton_mb = sum(each.memory_info().rss for each in psutil.Process().children(recursive=True)) / 2**20
    depths = {depth.name: depth for depth in (*rest.depths, *first.depths)}
    deepest = depths["+ rewrite"]
    figures: dict[str, float | dict[str, float]] = {
        "recall_at_1": deepest.retrieval.recall(1),
        "recall_at_5": deepest.retrieval.recall(5),
        "centred_recall_at_1": deepest.retrieval.recall(1, centred=True),
        "centred_recall_at_5": deepest.retrieval.recall(5, centred=True),
        "mean_rank": deepest.retrieval.mean_rank(),
        "recall_at_5_by_depth": {name: depth.retrieval.recall(5) for name, depth in depths.items()},
        "recall_at_1_by_depth": {name: depth.retrieval.recall(1) for name, depth in depths.items()},
        "p50_ms_by_depth": {name: round(statistics.median(depth.took_ms)) for name, depth in depths.items()},
        "clip_p50_ms": round(statistics.median(deepest.took_ms)),
        "clips_per_min": clips_per_min,
        "spared_by_glance": depths["as it runs"].spared(),
        "title_only_p50_ms": title_ms,
        "texts_per_s_batched": batched,
        "texts_per_s_unbatched": unbatched,
        "batching_gain": round(batched / unbatched, 2),
        "triton_mb": round(triton_mb),
        "decoder_peak_mb": first.decoder_peak_mb,
        "own_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    } | {f"titles_auc_{name}": value for name, value in coherence.items()}
    report.finish(
        "perception",
        figures,
        budgets={
            "recall_at_1": "≥ 0.45",
            "recall_at_5": "≥ 0.80",
            "clip_p50_ms": "≤ 3000",
            "title_only_p50_ms": "≤ 300",
            "titles_auc_learned_random": "≥ 0.70",
        },
        facts={
            "clips": len(first.clips),
            "chance": f"{1 / len(first.labels):.2f} and {5 / len(first.labels):.2f}",
            "understanding": writer.name,
            "viewers": viewers,
            "seed": seed,
        },
    )


def _clips_per_min(agent: "PerceptionAgent", found: "Sequence[LabelledClip]") -> float:
    from models.perception.evaluation.clips import untitled

    began = time.perf_counter()
    with ThreadPoolExecutor(2) as workers:
        list(workers.map(agent.frames, (untitled(clip, at) for at, clip in enumerate(found))))
    return round(60 * len(found) / (time.perf_counter() - began), 1)


def _title_ms(agent: "PerceptionAgent") -> float:
    from streams.events import Upload

    took = []
    for at in range(TITLES):
        upload = Upload(
            event_id="t", video_id="t", author_id="t", title=f"my cat meets robot number {at}", tags=("cats",), uploaded_at=0
        )
        began = time.perf_counter()
        agent.titles([upload])
        took.append((time.perf_counter() - began) * 1000)
    return round(statistics.median(took), 1)


def _texts_per_s(encoders: "Encoders") -> tuple[float, float]:
    """Return texts a second, so many requests at once and one by one: of one text each, all different."""

    def ask(at: int) -> None:
        encoders.texts([f"a title of some words, number {at}, as people write them"])

    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as workers:
        list(workers.map(ask, range(REQUESTS)))
    batched = REQUESTS / (time.perf_counter() - began)
    began = time.perf_counter()
    for at in range(REQUESTS, 2 * REQUESTS):
        ask(at)
    return round(batched, 1), round(REQUESTS / (time.perf_counter() - began), 1)


def _coherence(encoders: "Encoders", microlens: Path, viewers: int, learn: bool, seed: int) -> dict[str, float]:
    """Return how titles that the same viewers watch lie together: as the encoder has them, and learned from other viewers."""
    import numpy as np
    from rich.progress import track

    from models.perception.evaluation.titles import coherence
    from models.retrieval.log import watch_log
    from simulation.datasets import open_dataset

    dataset = open_dataset(str(microlens))
    log = watch_log(dataset.uploads, dataset.interactions())
    drawn = np.random.default_rng(seed).permutation(len(log.viewer_ids))
    held, others = log.chosen(drawn[:viewers]), log.chosen(drawn[viewers:])
    batches = [log.texts[start : start + 256] for start in range(0, len(log.texts), 256)]
    embeddings = np.concatenate([encoders.texts(batch) for batch in track(batches, "titles", console=report.console)])
    watched = [held.of(viewer) for viewer in range(len(held.viewer_ids))]
    figures = coherence(embeddings, watched, seed=seed)
    if learn:
        learned = coherence(_learned(others, embeddings, seed), watched, seed=seed)
        figures |= {f"learned_{name}": value for name, value in learned.items()}
    return figures


def _learned(log: "WatchLog", titles: "Vector", seed: int) -> "Vector":
    """Return what the video tower makes of titles alone, having learned from a log: no id, no neighbours, no time."""
    import torch
    from rich.progress import Progress

    from models.retrieval.recipe import Recipe
    from models.retrieval.training import steps, train

    recipe = Recipe(appearance=False, neighbours=False, width=128, negatives=2_048, epochs=6, seed=seed)
    with Progress(console=report.console) as bars:
        task = bars.add_task("learning titles from other viewers", total=steps(log, recipe))
        towers = train(log, titles, recipe, done=lambda loss: bars.advance(task))
    with torch.inference_mode():
        vectors: Vector = towers.video.content().cpu().numpy()
    return vectors


if __name__ == "__main__":
    typer.run(main)
