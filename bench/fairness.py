"""Exposure comes to its target, and what that costs: the feed's own pipeline, in process, among simulated viewers.

Measured over the last part of each run: the value of pages by the ranker's own parts, without what fairness added; and the
chance that viewers watch to the end what they are shown, of which the feed knows nothing. A run without targets is what all are
compared with. Some ten minutes on one core.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
import typer

from bench import in_process, plot, report, world
from bench.world import World
from serving.settings import FairnessSettings, FeedSettings

# Short, so that a run may be: it settles in some of these.
HALF_LIFE_S = 300.0
GINIS = (0.4, 0.3, 0.2, 0.1)
SHARES = (0.36, 0.4, 0.44)
BOTH = (0.4, 0.3)


@dataclass(frozen=True)
class Outcome:
    """One run, over its last part: what was measured, what it cost, and where the knobs stood; `watched_se` is the standard
    error of `watched`, which chance moves more than any of the others.
    """

    new_share: float
    author_gini: float
    value: float
    watched: float
    places: float
    author_weight: float
    watched_se: float


def main(
    videos: Annotated[int, typer.Option(min=200, max=100_000)] = 4_000,
    viewers: Annotated[int, typer.Option(min=10, max=10_000)] = 1_500,
    pages: Annotated[int, typer.Option(min=50, help="measured pages a run, after it has settled")] = 1_000,
    settling: Annotated[int, typer.Option(min=50, help="pages before those")] = 2_000,
    seed: Annotated[int, typer.Option()] = 1,
    plot_file: Annotated[Path | None, typer.Option(help="write the trade-off as a page of plots")] = None,
) -> None:
    """Measure how near exposure comes to its targets, and what each costs in value."""
    machine = report.machine()
    made = world.make(videos, seed=seed)

    def run(**targets: float) -> Outcome:
        fairness = FairnessSettings(half_life_s=HALF_LIFE_S, **targets)
        outcome = asyncio.run(_run(made, fairness, viewers, settling, pages))
        report.console.print(f"[dim]{targets or 'no target'}: {outcome}[/dim]")
        return outcome

    free = run()
    ginis = {target: run(author_gini=target) for target in GINIS}
    shares = {target: run(new_share=target) for target in SHARES}
    both = run(new_share=BOTH[0], author_gini=BOTH[1])
    if plot_file is not None:
        _plot(plot_file, free, list(ginis.values()), list(shares.values()))
    report.finish(
        "fairness",
        {
            "gini_free": round(free.author_gini, 3),
            "new_share_free": round(free.new_share, 3),
            "value_free": round(free.value, 4),
            "watched_free": round(free.watched, 4),
            # Of a difference between two runs: two such errors are what chance makes.
            "watched_lost_percent_error": round(100.0 * 2**0.5 * free.watched_se / free.watched, 2),
            "gini_reached": _by_target(ginis, lambda each: each.author_gini),
            "gini_author_weight": _by_target(ginis, lambda each: each.author_weight),
            **_costs("gini", ginis, free),
            "new_share_reached": _by_target(shares, lambda each: each.new_share),
            "new_share_places": _by_target(shares, lambda each: each.places),
            **_costs("new_share", shares, free),
            "both_reached": {"new_share": round(both.new_share, 3), "author_gini": round(both.author_gini, 3)},
            "both_lost_percent": {"value": _lost(both.value, free.value), "watched": _lost(both.watched, free.watched)},
            "worst_new_share_error": round(max(abs(each.new_share - target) for target, each in shares.items()), 4),
            "worst_gini_excess": round(max(each.author_gini - target for target, each in ginis.items()), 4),
        },
        budgets={"worst_new_share_error": "≤ 0.02", "worst_gini_excess": "≤ 0.02"},
        facts={
            "machine": machine,
            "both": f"new_share {BOTH[0]}, author_gini {BOTH[1]}",
            "load": f"{videos} videos of {videos // world.VIDEOS_PER_AUTHOR} authors, {viewers} viewers, {pages} pages after "
            f"{settling}, half-life {HALF_LIFE_S:g} s, seed {seed}",
        },
    )


async def _run(made: World, fairness: FairnessSettings, viewers: int, settling: int, pages: int) -> Outcome:
    # The deadline is for a busy production node; here every viewer's features are to be there.
    settings = FeedSettings(fairness=fairness, features_timeout_s=5.0)
    found: list[tuple[float, ...]] = []
    number = 0
    async for seen in in_process.pages(made, settings, viewers=viewers, count=settling + pages):
        number += 1
        if number > settling:
            steered = seen.steered
            share, unevenness = steered.served.new_share, steered.served.author_gini
            assert share is not None, "settling takes longer than the first sweep"
            assert unevenness is not None, "settling takes longer than the first sweep"
            value = fmean(item.score - item.parts["author-exposure"] for item in seen.page.items)
            found.append((share, unevenness, value, seen.watched, steered.places, steered.author_weight))
    watched = [each[3] for each in found]
    error = float(np.std(watched) / len(watched) ** 0.5)
    return Outcome(*(*np.mean(found, axis=0).tolist(), error))


def _by_target(outcomes: Mapping[float, Outcome], read: Callable[[Outcome], float]) -> dict[str, float]:
    return {f"{target:g}": round(read(each), 3) for target, each in outcomes.items()}


def _costs(name: str, outcomes: Mapping[float, Outcome], free: Outcome) -> dict[str, float | dict[str, float]]:
    return {
        f"{name}_value_lost_percent": _by_target(outcomes, lambda each: _lost(each.value, free.value)),
        f"{name}_watched_lost_percent": _by_target(outcomes, lambda each: _lost(each.watched, free.watched)),
    }


def _lost(now: float, before: float) -> float:
    return round(100.0 * (1.0 - now / before), 2)


def _plot(file: Path, free: Outcome, ginis: Sequence[Outcome], shares: Sequence[Outcome]) -> None:
    by_gini = sorted([free, *ginis], key=lambda each: each.author_gini)
    by_share = sorted([free, *shares], key=lambda each: each.new_share)
    plot.write_curves(
        file,
        "fairness",
        [
            ("value kept against the authors' Gini", "Gini", [each.author_gini for each in by_gini], _kept(by_gini, free)),
            (
                "value kept against the share of new videos",
                "share",
                [each.new_share for each in by_share],
                _kept(by_share, free),
            ),
        ],
    )


def _kept(outcomes: Sequence[Outcome], free: Outcome) -> dict[str, list[float]]:
    return {
        "value, %": [100.0 * each.value / free.value for each in outcomes],
        "watched to the end, %": [100.0 * each.watched / free.watched for each in outcomes],
    }


if __name__ == "__main__":
    typer.run(main)
