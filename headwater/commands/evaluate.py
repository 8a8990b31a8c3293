"""`headwater evaluate`: how well videos are understood, and found for viewers, on data of one's own."""

import json
import statistics
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from models.perception.evaluation.clips import ClipsReport
    from models.ranking.evaluation.comparison import Judged

evaluate = typer.Typer(help="Measure the models, on data of your own.", no_args_is_help=True)


@evaluate.callback()
def measure() -> None:
    """Measure the models, on data of your own."""


@evaluate.command()
def perception(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="has clips.csv (file, label) and the files")],
    page: Annotated[Path, typer.Option(help="where the page with frames, fields and nearest labels goes")] = Path(
        "var/evaluation/perception.html"
    ),
) -> None:
    """Perceive labelled clips without their titles, and see whether each finds its label among all of them.

    Step by step: by a glance at the cover, with key frames, with the rewrite, and as it runs. Uses the servers that run here or
    are configured, or starts its own. The last line is JSON.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

    from headwater.encoders import perception_of
    from headwater.settings import load
    from models.perception.evaluation import clips as clips_evaluation
    from models.perception.evaluation.page import write

    console = Console(stderr=True)
    settings = load()
    found = clips_evaluation.labelled(folder)
    media = settings.media.model_copy(update={"roots": (*settings.media.roots, folder.resolve())})
    with perception_of(settings, console) as (encoders, understanding):
        with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn(), console=console) as bars:
            task = bars.add_task("perceiving", total=len(found) * len(clips_evaluation.DEPTHS))
            report = clips_evaluation.evaluate(
                found,
                encoders,
                understanding,
                media,
                steps=settings.steps,
                rewrite_within_s=settings.understanding.timeout_s,
                done=lambda: bars.advance(task),
            )
        facts = {"folder": folder.name, "understanding": understanding.name, "clips": str(len(report.clips))}
    write(report, page, media, facts=facts)
    show(report, console)
    for name, reason in report.refused.items():
        console.print(f"[yellow]left out: {name}[/yellow]: {reason}")
    console.print(f"frames, fields and nearest labels: {page}")
    typer.echo(json.dumps(report.figures()))


class Protocol(StrEnum):
    """How recommenders are judged: by what they find, or by what they would have earned."""

    LEAVE_ONE_OUT = "leave-one-out"
    OFF_POLICY = "off-policy"


@evaluate.command()
def ranking(
    data: Annotated[
        str,
        typer.Option(help="a folder with `videos` and `interactions` files, or movielens-100k; off-policy: var/feedback_log"),
    ],
    protocol: Annotated[
        Protocol,
        typer.Option(
            help="each viewer's last watch is to be found; or what other policies would have earned, by logged chance"
        ),
    ] = Protocol.LEAVE_ONE_OUT,
    viewers: Annotated[int, typer.Option(min=0, help="viewers learned from and judged by, drawn by the seed; 0: all")] = 0,
    negatives: Annotated[
        int, typer.Option(min=0, help="videos of each step's softmax beside those wanted: more learn better; 0: all")
    ] = 4_096,
    libraries: Annotated[bool, typer.Option(help="compare with rtrec and implicit too: minutes more")] = True,
    seed: Annotated[int, typer.Option(help="of the viewers and of all that learns")] = 0,
    clip: Annotated[
        float | None, typer.Option(min=1, help="off-policy: the largest weight that counts; it trades variance for bias")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="where the page with bars and intervals goes, else to var/evaluation/")
    ] = None,
) -> None:
    """Find each viewer's last watch among all videos, or judge other policies by the feedback log.

    leave-one-out, by what was watched before it: our towers, popular videos, neighbours, SASRec, rtrec and implicit, all fitted
    to the same log: some ten minutes for 10,000 viewers on two cores; a GPU is used where there is one. off-policy: what places
    of exploration would have earned under other policies, by inverse propensities. The last line is JSON.
    """
    from rich.console import Console

    console = Console(stderr=True)
    page = page or Path("var/evaluation") / ("off-policy.html" if protocol is Protocol.OFF_POLICY else "ranking.html")
    if protocol is Protocol.OFF_POLICY:
        from headwater.off_policy import judged

        looked_at, estimates = judged(Path(data), console, clip=clip, seed=seed, page=page)
        console.print(f"dots and intervals: {page}")
        typer.echo(json.dumps(looked_at | {name: of.figures() for name, of in estimates.items()}))
        return

    from headwater.comparison import compared, task_of
    from headwater.settings import load
    from models.ranking.evaluation.page import write

    settings = load()
    task = task_of(data, console, viewers=viewers, seed=seed)
    results = compared(task, settings, console, negatives=negatives, seed=seed, libraries=libraries)
    facts = {
        "data": task.data,
        "protocol": protocol.value,
        "viewers": f"{len(task.cut.test.wanted):,}",
        "videos": f"{len(task.log.video_ids):,}",
        "cold": f"{int(task.cut.test.cold.sum()):,}",
        "negatives": str(negatives or "all"),
        "seed": str(seed),
    }
    write(results, page, facts=facts)
    show_ranking(results, console)
    console.print(f"bars and intervals: {page}")
    typer.echo(json.dumps(facts | {result.name: result.figures() | {"fit_s": result.fit_s} for result in results}))


def show_ranking(results: "list[Judged]", console: "Console") -> None:
    """Print a row for each recommender."""
    from rich.table import Table

    table = Table("recommender", "HR@10", "NDCG@10", "95 %", "cold HR@10", "95 %", "fitted in", box=None)
    for result in sorted(results, key=lambda result: -result.figures()["ndcg_at_10"]):
        of = result.figures()
        table.add_row(
            result.name,
            f"{of['hr_at_10']:.4f}",
            f"{of['ndcg_at_10']:.4f}",
            f"{of['ndcg_at_10_low']:.4f}–{of['ndcg_at_10_high']:.4f}",
            f"{of['cold_hr_at_10']:.4f}",
            f"{of['cold_hr_at_10_low']:.4f}–{of['cold_hr_at_10_high']:.4f}",
            f"{result.fit_s:.0f} s",
        )
    console.print(table)


def show(report: "ClipsReport", console: "Console") -> None:
    """Print a row for each depth."""
    from rich.table import Table

    chance = len(report.labels)
    table = Table("depth", "recall@1", "recall@5", "mean rank", "centred @1", "@5", "spared", "rewritten", "p50 ms", box=None)
    for depth in report.depths:
        found = depth.retrieval
        table.add_row(
            depth.name,
            *(str(value) for value in (found.recall(1), found.recall(5), found.mean_rank())),
            *(str(found.recall(at, centred=True)) for at in (1, 5)),
            str(depth.spared()),
            str(depth.rewritten()),
            f"{statistics.median(depth.took_ms):.0f}",
        )
    table.add_row("chance", f"{1 / chance:.2f}", f"{min(1, 5 / chance):.2f}", f"{(chance + 1) / 2:.1f}", style="dim")
    console.print(table)
