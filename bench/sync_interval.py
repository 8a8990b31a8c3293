"""Whether models that learn at once find more: quality by the event time between two syncs, as in Monolith's table.

Prequential replay (see models/ranking/evaluation/prequential.py) of a stretch of real watches: what comes before it is learned
at once, then nothing more ("batch"), or every so often. Once with each viewer's history known to the second, as serving has it,
and once only as of the last sync, as a batch system does: what fresh models give, and what a fresh history gives.
"""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from bench import report
from bench.stack import own_settings
from models.ranking.evaluation.prequential import Replayed, over

MINUTE_MS = 60_000
HISTORIES = ("fresh", "synced")
INTERVALS: dict[str, int | None] = {
    "batch": None,
    "5h": 300 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "30min": 30 * MINUTE_MS,
    "5min": 5 * MINUTE_MS,
}


def main(
    data: Annotated[
        str, typer.Option(help="movielens-100k, or a folder with videos and interactions files")
    ] = "movielens-100k",
    begin: Annotated[float, typer.Option(help="share of the watches that is learned from at once")] = 0.1,
    end: Annotated[float, typer.Option(help="share of the watches after which nothing is judged: less is quicker")] = 0.2,
    seed: Annotated[int, typer.Option(help="of all that learns")] = 0,
    page: Annotated[Path, typer.Option(help="where the page with the curve goes")] = Path("var/bench/sync_interval.html"),
) -> None:
    """Measure how much fresher models and histories find."""
    from headwater.comparison import embedded, log_of
    from models.ranking.evaluation.learners import BLEND, blend
    from models.ranking.evaluation.lines import lines
    from models.ranking.evaluation.page import REPLAYED, write
    from models.ranking.evaluation.prequential import replay, start

    report.console.print(report.machine())
    name, log = log_of(data, report.console, viewers=0, seed=seed, by_id=True)
    with own_settings() as settings:
        titles = embedded(log.texts, settings, report.console)
    results: dict[tuple[str, str], Replayed] = {}
    first = blend(titles, negatives=None, seed=seed)
    start(first, log, judged=(begin, end))
    for histories in HISTORIES:
        for interval, sync_ms in INTERVALS.items():
            fresh = histories == "fresh"
            found = replay(copy.deepcopy(first), log, sync_ms=sync_ms, judged=(begin, end), fresh_histories=fresh, started=True)
            results[histories, interval] = found
            report.console.print(
                f"{histories} histories, {interval}: NDCG@10 {found.figures()['ndcg_at_10']:.4f}, {found.syncs:,} syncs"
            )
    any_result = results["fresh", "batch"]
    facts = {
        "data": name,
        "protocol": f"prequential, watches {begin:.0%} to {end:.0%} of the log",
        "learner": BLEND,
        "watches": len(any_result.at),
        "viewers": len(np.unique(any_result.viewers)),
        "syncs": {interval: results["fresh", interval].syncs for interval in INTERVALS},
        "seed": seed,
    }
    curves = {
        f"{histories}_histories": [results[histories, interval].figures()["ndcg_at_10"] for interval in INTERVALS]
        for histories in HISTORIES
    }
    named = [replace(found, name=f"{histories}_{interval}") for (histories, interval), found in results.items()]
    write(
        named,
        page,
        facts={fact: str(value) for fact, value in facts.items()},
        ours="fresh_5min",
        protocol=REPLAYED,
        lines=[lines("NDCG@10 by the time between two syncs", curves, list(INTERVALS))],
    )
    report.console.print(f"the curve: {page}")
    report.finish(
        "sync_interval",
        _figures(results, seed=seed),
        budgets={f"{histories}_5min_over_batch": "> 1" for histories in HISTORIES},
        facts=facts,
    )


def _figures(results: dict[tuple[str, str], Replayed], *, seed: int) -> dict[str, float | dict[str, float]]:
    """Return the headlines of each replay, and what the shortest interval gives over none."""
    figures: dict[str, float | dict[str, float]] = {}
    for (histories, interval), found in results.items():
        of = found.figures(seed=seed)
        kept = ("hr_at_10", "ndcg_at_10", "ndcg_at_10_low", "ndcg_at_10_high")
        figures |= {f"{histories}_{interval}_{figure}": of[figure] for figure in kept}
    for histories in HISTORIES:
        ratio, low, high = over(results[histories, "5min"], results[histories, "batch"], "ndcg_at_10", seed=seed)
        name = f"{histories}_5min_over_batch"
        figures |= {name: ratio, f"{name}_low": low, f"{name}_high": high}
    return figures


if __name__ == "__main__":
    typer.run(main)
