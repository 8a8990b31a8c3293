"""`headwater evaluate ranking`: how well videos are found for viewers, and what other policies would have earned."""

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from headwater.settings import Settings
    from models.ranking.evaluation.page import Result

HOUR_MS = 3_600_000


class Protocol(StrEnum):
    """How recommenders are judged: by what they find, or by what they would have earned."""

    LEAVE_ONE_OUT = "leave-one-out"
    PREQUENTIAL = "prequential"
    OFF_POLICY = "off-policy"


def ranking(
    data: Annotated[
        str,
        typer.Option(help="a folder with `videos` and `interactions` files, or movielens-100k; off-policy: var/feedback_log"),
    ],
    protocol: Annotated[
        Protocol,
        typer.Option(
            help="find each viewer's last watch, or every one in the order of time; or judge policies by logged chance"
        ),
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
    clip: Annotated[
        float | None, typer.Option(min=1, help="off-policy: the largest weight that counts; it trades variance for bias")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="where the page goes; default: PROTOCOL.html in var/evaluation")] = None,
) -> None:
    """Find watches among all videos, or judge other policies by the feedback log.

    leave-one-out: each viewer's last watch, by what was watched before it; ten minutes for 10,000 viewers on two cores.
    prequential: every watch, in the order of time, before it is learned from. Both compare our towers with popular videos,
    neighbours, SASRec, rtrec and implicit in one run, on a GPU where there is one.
    off-policy: what places of exploration would have earned under other policies, by inverse propensities.
    The last line is JSON.
    """
    from rich.console import Console

    from headwater.settings import load

    console, settings = Console(stderr=True), load()
    page = page or Path("var/evaluation") / f"{protocol.value}.html"
    match protocol:
        case Protocol.OFF_POLICY:
            off_policy(data, console, page, clip=clip, seed=seed)
        case Protocol.LEAVE_ONE_OUT:
            leave_one_out(data, settings, console, page, viewers=viewers, negatives=negatives, seed=seed, libraries=libraries)
        case Protocol.PREQUENTIAL:
            prequential(
                data,
                settings,
                console,
                page,
                viewers=viewers,
                negatives=negatives,
                seed=seed,
                libraries=libraries,
                # Whole seconds: watches of one have no order.
                sync_ms=1000 * max(1, round(sync_hours * HOUR_MS / 1000)),
                until=until,
            )


def off_policy(data: str, console: "Console", page: Path, *, clip: float | None, seed: int) -> None:
    """Estimate what other policies would have earned; write the page and print the figures."""
    from headwater.off_policy import judged

    looked_at, estimates = judged(Path(data), console, clip=clip, seed=seed, page=page)
    console.print(f"dots and intervals: {page}")
    typer.echo(json.dumps(looked_at | {name: of.figures() for name, of in estimates.items()}))


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
    told(results, facts, console, f"bars and intervals: {page}")


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
    told(results, facts, console, f"bars, intervals and lines over time: {page}")


def told(results: "Sequence[Result]", facts: dict[str, str], console: "Console", where: str) -> None:
    """Print a table, where the page is, and the last line, JSON."""
    show_ranking(results, console)
    console.print(where)
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
