"""The ranker learns from the feedback log what makes a page better than the value made by hand does.

A crowd of simulated viewers (bench/crowd.py) is shown pages made by hand; what became of them goes through the feedback log
into a ranker. Then each page is made by hand or by the ranker, as a coin falls: same viewers, same catalogue, same time. What
viewers would like is known, so a page is also compared with the best of its candidates.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from bench import report
from bench.crowd import Crowd, Served, visits

if TYPE_CHECKING:
    from models.ranking.ranker import Ranker
    from models.ranking.training import Candidate
    from streams.events import Feedback

# Between pages of the whole crowd: some hours in all, as long as a video's statistics need.
PAUSE_MS = 10_000
DRAWS = 1_000
# Rows whose time is taken: as many candidates as a busy page has.
SCORED = 1_000

Floats = NDArray[np.float64]


@dataclass
class Coin:
    """What ranks the next page: the ranker or, where it is not up, the value made by hand."""

    ranker: "Ranker | None" = None
    up: bool = False

    def now(self) -> "Ranker | None":
        return self.ranker if self.up else None


def main(
    viewers: Annotated[int, typer.Option(min=10, help="simulated viewers")] = 150,
    videos: Annotated[int, typer.Option(min=200, help="videos in the catalogue")] = 2_000,
    learned: Annotated[int, typer.Option(min=100, help="pages made by hand, to learn from")] = 6_000,
    judged: Annotated[int, typer.Option(min=100, help="pages made by coin, to be judged by")] = 4_000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Measure what the ranker adds to pages; a quarter of an hour on a core."""
    machine = report.machine()
    coin = Coin()
    crowd = Crowd(viewers=viewers, videos=videos, seed=seed, ranker=coin.now)
    report.console.print(f"{learned:,} pages made by hand")
    by_hand = visits(crowd, learned, PAUSE_MS)
    feedback = crowd.end()
    with TemporaryDirectory(prefix="headwater-ranker-") as folder:
        candidate, coin.ranker = _trained(feedback, Path(folder), seed)
    if candidate.refused:
        report.console.print(f"[yellow]the gate refuses it: {candidate.refused}[/yellow]")
    report.console.print(f"{judged:,} pages made by hand or by the ranker")
    fallen = np.random.default_rng(seed).random(judged) < 0.5

    def toss(number: int) -> None:
        coin.up = bool(fallen[number])

    pages = visits(crowd, judged, PAUSE_MS, before=toss)
    rewards = {made.request_id: sum(item.reward for item in made.items) for made in crowd.end()}
    report.finish(
        "ranker",
        _of_training(candidate)
        | _of_hand(by_hand, feedback, candidate)
        | _of_pages(pages, fallen, rewards, seed)
        | {"score_1000_ms": _score_ms(coin.ranker)},
        budgets={"reward_gain_low": "> 0", "interest_gain_low": "> 0", "score_1000_ms": "< 1"},
        facts={
            "machine": machine,
            "refused": candidate.refused,
            "rows": dict(candidate.rows),
            "load": f"{viewers} viewers, {videos} videos, {learned} pages learned from, {judged} judged by, seed {seed}",
        },
    )


def _trained(feedback: "list[Feedback]", folder: Path, seed: int) -> "tuple[Candidate, Ranker]":
    """Return a candidate learned from `feedback`, by way of the log on disk, and the ranker that it is once exported."""
    from models.ranking import folder as written
    from models.ranking.ranker import Ranker
    from models.ranking.recipe import Recipe
    from models.ranking.rows import read
    from models.ranking.training import train
    from streams.flows.feedback_log import FeedbackLog

    log = FeedbackLog(folder / "log")
    log.add(feedback)
    rows, left_out = read(log.read())
    report.console.print(f"{len(rows):,} places to learn from; left out: {left_out}")
    candidate = train(rows, Recipe(seed=seed))
    written.write(candidate.network, folder / "ranker")
    return candidate, Ranker.load(folder / "ranker")


def _of_training(candidate: "Candidate") -> dict[str, float]:
    figures: dict[str, float] = {"train_rows_per_s": candidate.rows_per_s}
    for name, of in candidate.figures.items():
        for figure, found in of.items():
            figures[f"{name}_{figure}"] = round(found.value, 4)
            figures[f"{name}_{figure}_low"], figures[f"{name}_{figure}_high"] = round(found.low, 4), round(found.high, 4)
        figures[f"{name}_ece_before"] = round(candidate.ece_before.get(name, float("nan")), 4)
    return figures


def _of_hand(pages: list[Served], feedback: "list[Feedback]", candidate: "Candidate") -> dict[str, float]:
    """Return the AUC of the value made by hand, over the places that the candidate was judged by."""
    from models.ranking.figures import auc

    scores = {page.slate.request_id: {item.video_id: item.score for item in page.slate.items} for page in pages}
    rows = [(scores[made.request_id][item.video_id], item.actions) for made in feedback for item in made.items if item.actions]
    newest = rows[-candidate.rows["judged"] :]
    value = np.array([score for score, _ in newest])
    return {
        f"by_hand_{name}_auc": round(auc(sign * value, np.array([name in actions for _, actions in newest])), 4)
        for name, sign in (("complete", 1.0), ("like", 1.0), ("skip", -1.0))
    }


def _of_pages(pages: list[Served], by_ranker: NDArray[np.bool_], rewards: dict[str, float], seed: int) -> dict[str, float]:
    """Return what pages were worth by what made them, and the gain with its 95 % interval, drawing viewers again."""
    viewer = np.unique([page.user_id for page in pages], return_inverse=True)[1]
    worth = {
        "reward": np.array([rewards[page.slate.request_id] for page in pages]),
        "interest": np.array([np.mean(page.interest) for page in pages]),
    }
    figures = {"best_interest": round(float(np.mean([page.best for page in pages])), 4)}
    rng, count = np.random.default_rng(seed), int(viewer.max()) + 1
    draws = [np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(DRAWS)]
    for name, values in worth.items():
        gains = [_gain(values, by_ranker, draw[viewer].astype(np.float64)) for draw in draws]
        figures |= {
            f"{name}_by_hand": round(float(values[~by_ranker].mean()), 4),
            f"{name}_by_ranker": round(float(values[by_ranker].mean()), 4),
            f"{name}_gain": round(_gain(values, by_ranker, np.ones(len(values))), 4),
            f"{name}_gain_low": round(float(np.percentile(gains, 2.5)), 4),
            f"{name}_gain_high": round(float(np.percentile(gains, 97.5)), 4),
        }
    return figures


def _gain(values: Floats, by_ranker: NDArray[np.bool_], weights: Floats) -> float:
    ours = float(np.average(values[by_ranker], weights=weights[by_ranker]))
    return ours - float(np.average(values[~by_ranker], weights=weights[~by_ranker]))


def _score_ms(ranker: "Ranker") -> float:
    """Return the median milliseconds in which the ranker scores a thousand candidates."""
    from models.ranking.features import NAMES

    features, took = np.random.default_rng(0).random((SCORED, len(NAMES)), np.float32), []
    for _ in range(200):
        began = time.perf_counter()
        ranker.predict(features)
        took.append((time.perf_counter() - began) * 1000)
    return report.percentile(took, 50)


if __name__ == "__main__":
    typer.run(main)
