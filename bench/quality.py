"""Videos are found for viewers better than by what a platform could have without us: all of it fitted to one log, in one run.

Leave one out, all videos ranked (see models/ranking/evaluation/leave_one_out.py). 10,000 viewers take some 20 minutes on two
cores, all 40,000 two hours, or a few minutes on a GPU.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench import report
from bench.stack import own_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.ranking.evaluation.comparison import Judged


def main(
    data: Annotated[Path, typer.Option(help="folder with videos and interactions files")] = Path("../shared/data/microlens"),
    viewers: Annotated[int, typer.Option(help="viewers learned from and judged by, drawn by the seed; 0: all")] = 10_000,
    negatives: Annotated[int, typer.Option(help="videos of each step's softmax beside those wanted; 0: all")] = 4_096,
    seed: Annotated[int, typer.Option(help="of the viewers and of all that learns")] = 0,
    libraries: Annotated[bool, typer.Option(help="rtrec and implicit too")] = True,
) -> None:
    """Measure retrieval against its baselines; needs real watches."""
    from headwater.comparison import compared, task_of
    from models.ranking.evaluation.comparison import HEADLINES, over
    from models.ranking.evaluation.contenders import LEARNED, OURS
    from simulation.datasets import BadDataset

    report.console.print(report.machine())
    try:
        task = task_of(str(data), report.console, viewers=viewers, seed=seed)
    except BadDataset as error:
        raise typer.BadParameter(
            f"{error}; MicroLens is at https://github.com/westlake-repl/MicroLens, or take your own log"
        ) from error
    cold = task.cut.test.cold
    if not cold.any():
        raise typer.BadParameter(f"{task.data}: expected viewers of three videos or more, some of a cold one, got none")
    with own_settings() as settings:
        results = compared(task, settings, report.console, negatives=negatives, seed=seed, libraries=libraries)
    by_name = {result.name: result for result in results}
    figures = _figures(results, unnamed=OURS)
    for baseline in ("sasrec_ids", "sasrec_titles"):
        ratio, low, high = over(by_name[OURS], by_name[baseline], "ndcg_at_10", seed=seed)
        figures |= {f"ndcg_over_{baseline}": ratio, f"ndcg_over_{baseline}_low": low, f"ndcg_over_{baseline}_high": high}
    best = max((each for each in results if each.name != OURS), key=lambda each: each.figures()["cold_hr_at_10"])
    ratio, low, high = over(by_name[OURS], best, "cold_hr_at_10", seed=seed)
    figures |= {"cold_hr_over_best": ratio, "cold_hr_over_best_low": low, "cold_hr_over_best_high": high}
    figures["learned_per_s"] = round(LEARNED[OURS].epochs * len(task.cut.train) / by_name[OURS].fit_s)
    report.finish(
        "quality",
        figures,
        budgets={
            "ndcg_over_sasrec_ids": "≥ 1.25",
            "ndcg_over_sasrec_titles": "≥ 1.08",
            "cold_hr_over_best": "≥ 1.60",
        },
        facts={
            "data": task.data,
            "protocol": "leave one out, all videos ranked",
            "viewers": len(task.cut.test.wanted),
            "videos": len(task.log.video_ids),
            "cold": int(cold.sum()),
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
