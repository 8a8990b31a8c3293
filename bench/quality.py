"""Videos are found for viewers better than by what a platform could have without us: all of it fitted to one log, in one run.

Leave one out, all videos ranked (see models/ranking/evaluation/leave_one_out.py). Some 40 minutes on two cores, a few on a GPU.
With fewer viewers it is quicker and says less: the recipes are tuned on all of a log, and the baselines suffer more from less.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench import report
from bench.stack import own_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.ranking.evaluation.comparison import Judged

TITLES_AT_ONCE = 256


def main(
    data: Annotated[Path, typer.Option(help="folder with videos and interactions files")] = Path("../shared/data/microlens"),
    viewers: Annotated[int, typer.Option(help="viewers learned from and judged by, drawn by the seed; 0: all")] = 0,
    negatives: Annotated[int, typer.Option(help="videos of each step's softmax beside those wanted; 0: all")] = 4_096,
    seed: Annotated[int, typer.Option(help="of the viewers and of all that learns")] = 0,
    libraries: Annotated[bool, typer.Option(help="rtrec and implicit too")] = True,
) -> None:
    """Measure retrieval against its baselines; needs real watches."""
    import numpy as np
    from rich.progress import Progress, TimeElapsedColumn

    from headwater.encoders import perception_of, wordless
    from models.ranking.evaluation.comparison import HEADLINES, compare, over
    from models.ranking.evaluation.contenders import LEARNED, OURS, contenders
    from models.ranking.evaluation.leave_one_out import split
    from models.retrieval.log import watch_log
    from models.retrieval.training import steps
    from simulation.datasets import open_dataset

    report.console.print(report.machine())
    with report.console.status("reading the log"):
        dataset = open_dataset(str(data))
        log = watch_log(dataset.uploads, dataset.interactions())
    if viewers:
        chosen = np.random.default_rng(seed).permutation(len(log.viewer_ids))[:viewers]
        log = log.chosen(np.sort(chosen))
    cut = split(log)
    if not cut.test.cold.any():
        raise typer.BadParameter(f"{dataset.name}: expected viewers of three videos or more, some of a cold one, got none")
    with own_settings() as settings, perception_of(wordless(settings), report.console) as (encoders, _):
        batches = [log.texts[start : start + TITLES_AT_ONCE] for start in range(0, len(log.texts), TITLES_AT_ONCE)]
        with report.console.status(f"{len(log.texts):,} titles"):
            titles = np.concatenate([encoders.texts(batch) for batch in batches])
    with Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=report.console) as bars:
        tasks = {name: bars.add_task(name, total=steps(cut.train, recipe)) for name, recipe in LEARNED.items()}
        field = contenders(
            titles,
            negatives=negatives or None,
            seed=seed,
            libraries=libraries,
            told=lambda name, loss: bars.advance(tasks[name]),
        )
        results = compare(field, cut, told=lambda said: bars.console.print(f"[dim]{said}[/dim]"))
    by_name = {result.name: result for result in results}
    figures = _figures(results, unnamed=OURS)
    for baseline in ("sasrec_ids", "sasrec_titles"):
        ratio, low, high = over(by_name[OURS], by_name[baseline], "ndcg_at_10", seed=seed)
        figures |= {f"ndcg_over_{baseline}": ratio, f"ndcg_over_{baseline}_low": low, f"ndcg_over_{baseline}_high": high}
    best = max((each for each in results if each.name != OURS), key=lambda each: each.figures()["cold_hr_at_10"])
    ratio, low, high = over(by_name[OURS], best, "cold_hr_at_10", seed=seed)
    figures |= {"cold_hr_over_best": ratio, "cold_hr_over_best_low": low, "cold_hr_over_best_high": high}
    report.finish(
        "quality",
        figures,
        budgets={
            "ndcg_over_sasrec_ids": "≥ 1.25",
            "ndcg_over_sasrec_titles": "≥ 1.08",
            "cold_hr_over_best": "≥ 1.60",
        },
        facts={
            "data": dataset.name,
            "protocol": "leave one out, all videos ranked",
            "viewers": len(cut.test.wanted),
            "videos": len(log.video_ids),
            "cold": int(cut.test.cold.sum()),
            "best_on_cold": best.name,
            "negatives": negatives,
            "seed": seed,
            "headlines": ", ".join(HEADLINES),
        },
    )


def _figures(results: "Sequence[Judged]", *, unnamed: str) -> dict[str, float | dict[str, float]]:
    """Return every recommender's figures, its name before each but for one."""
    figures: dict[str, float | dict[str, float]] = {}
    for result in results:
        prefix = "" if result.name == unnamed else f"{result.name}_"
        figures |= {f"{prefix}{figure}": value for figure, value in (result.figures() | {"fit_s": result.fit_s}).items()}
    return figures


if __name__ == "__main__":
    typer.run(main)
