"""`headwater evaluate`: how well videos are understood, and found for viewers, on data of one's own."""

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.commands.evaluate_ranking import ranking
from headwater.commands.evaluate_viewers import viewers

if TYPE_CHECKING:
    from rich.console import Console

    from models.perception.evaluation.clips import ClipsReport

evaluate = typer.Typer(help="Measure the models, on data of your own.", no_args_is_help=True)


@evaluate.callback()
def measure() -> None:
    """Measure the models, on data of your own."""


evaluate.command()(ranking)
evaluate.command()(viewers)


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

    from headwater.display import timed
    from headwater.encoders import perception_of
    from headwater.settings import load
    from models.perception.evaluation import clips as clips_evaluation
    from models.perception.evaluation.page import write

    console = Console(stderr=True)
    settings = load()
    found = clips_evaluation.labelled(folder)
    media = settings.media.model_copy(update={"roots": (*settings.media.roots, folder.resolve())})
    with perception_of(settings, console) as (encoders, understanding):
        with timed(console) as bars:
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
