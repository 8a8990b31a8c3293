"""`headwater evaluate`: how well videos are understood, and found for viewers, on data of one's own."""

import json
import statistics
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from headwater.settings import Settings
    from models.perception.evaluation.clips import ClipsReport
    from models.ranking.evaluation.page import Result

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
    """How recommenders are judged."""

    LEAVE_ONE_OUT = "leave-one-out"
    PREQUENTIAL = "prequential"


@evaluate.command()
def ranking(
    data: Annotated[str, typer.Option(help="a folder with `videos` and `interactions` files, or movielens-100k")],
    protocol: Annotated[
        Protocol, typer.Option(help="find each viewer's last watch, or every watch in the order of time")
    ] = Protocol.LEAVE_ONE_OUT,
    viewers: Annotated[int, typer.Option(min=0, help="viewers learned from and judged by, drawn by the seed; 0: all")] = 0,
    negatives: Annotated[
        int, typer.Option(min=0, help="videos of each step's softmax beside those wanted: more learn better; 0: all")
    ] = 4_096,
    libraries: Annotated[bool, typer.Option(help="compare with rtrec and implicit too: minutes more")] = True,
    sync_hours: Annotated[
        float, typer.Option(min=0.01, help="prequential: event time between two syncs; less takes longer")
    ] = 24.0,
    until: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="prequential: share of the watches after which none is predicted")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="of the viewers and of all that learns")] = 0,
    page: Annotated[Path, typer.Option(help="where the page with bars and intervals goes")] = Path(
        "var/evaluation/ranking.html"
    ),
) -> None:
    """Find each viewer's last watch among all videos, by what was watched before it; or every watch before it is learned from.

    Our towers, popular videos, neighbours, SASRec, rtrec and implicit, all fitted to the same log: some ten minutes for 10,000
    viewers on two cores; a GPU is used where there is one. The last line is JSON.
    """
    from rich.console import Console

    from headwater.settings import load

    console = Console(stderr=True)
    settings = load()
    if protocol is Protocol.LEAVE_ONE_OUT:
        leave_one_out(data, settings, console, page, viewers=viewers, negatives=negatives, seed=seed, libraries=libraries)
    else:
        hour_ms = 3_600_000
        prequential(
            data,
            settings,
            console,
            page,
            viewers=viewers,
            negatives=negatives,
            seed=seed,
            libraries=libraries,
            sync_ms=round(sync_hours * hour_ms),
            until=until,
        )


def leave_one_out(
    data: str,
    settings: "Settings",
    console: "Console",
    page: Path,
    *,
    viewers: int,
    negatives: int,
    seed: int,
    libraries: bool,
) -> None:
    """Find each viewer's last watch; write the page and print the figures."""
    from headwater.comparison import compared, task_of
    from models.ranking.evaluation.contenders import OURS
    from models.ranking.evaluation.page import write

    task = task_of(data, console, viewers=viewers, seed=seed)
    results = compared(task, settings, console, negatives=negatives, seed=seed, libraries=libraries)
    facts = {
        "data": task.data,
        "protocol": Protocol.LEAVE_ONE_OUT.value,
        "viewers": f"{len(task.cut.test.wanted):,}",
        "videos": f"{len(task.log.video_ids):,}",
        "cold": f"{int(task.cut.test.cold.sum()):,}",
        "negatives": str(negatives or "all"),
        "seed": str(seed),
    }
    write(results, page, facts=facts, ours=OURS)
    show_ranking(results, console)
    console.print(f"bars and intervals: {page}")
    typer.echo(json.dumps(facts | {result.name: result.figures() | {"fit_s": round(result.fit_s, 1)} for result in results}))


def prequential(
    data: str,
    settings: "Settings",
    console: "Console",
    page: Path,
    *,
    viewers: int,
    negatives: int,
    seed: int,
    libraries: bool,
    sync_ms: int,
    until: float,
) -> None:
    """Find every watch in the order of time; write the page and print the figures."""
    from headwater.comparison import log_of, replayed
    from models.ranking.evaluation.learners import BLEND
    from models.ranking.evaluation.lines import over_time
    from models.ranking.evaluation.page import REPLAYED, write

    name, log = log_of(data, console, viewers=viewers, seed=seed, by_id=True)
    results = replayed(
        log, settings, console, sync_ms=sync_ms, until=until, negatives=negatives, seed=seed, libraries=libraries
    )
    facts = {
        "data": name,
        "protocol": Protocol.PREQUENTIAL.value,
        "watches": f"{len(results[0].at):,}",
        "until": f"{until:.0%}",
        "viewers": f"{len(set(results[0].viewers.tolist())):,}",
        "videos": f"{len(log.video_ids):,}",
        "cold": f"{int(results[0].ranks.cold.sum()):,}",
        "syncs": f"{results[0].syncs:,}",
        "sync_s": f"{sync_ms // 1000:,}",
        "negatives": str(negatives or "all"),
        "seed": str(seed),
    }
    write(results, page, facts=facts, ours=BLEND, protocol=REPLAYED, lines=[over_time(results)])
    show_ranking(results, console)
    console.print(f"bars, intervals and lines over time: {page}")
    typer.echo(json.dumps(facts | {result.name: result.figures() | {"fit_s": round(result.fit_s, 1)} for result in results}))


def show_ranking(results: "Sequence[Result]", console: "Console") -> None:
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
