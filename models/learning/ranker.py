"""The ranker, learned from the feedback log of a running house: from nothing, or on from the one that serves."""

import logging
import math
import tempfile
from dataclasses import replace
from pathlib import Path

from models.learning.gate import Learned, TooLittle, Verdict, judged
from models.ranking import folder, training
from models.ranking.network import Network
from models.ranking.ranker import GRAPH, MANIFEST, WEIGHTS, BadModel
from models.ranking.recipe import Recipe
from models.ranking.rows import COLUMNS, read
from streams.flows.feedback_log import FeedbackLog

log = logging.getLogger(__name__)

NAME = "ranker"


def learn(feedback: Path, recipe: Recipe, *, running: Path | None, since: str = "") -> Learned:
    """Train a ranker on the feedback log from day `since` on, and judge it by the newest pages of that.

    `running` is the folder of the one that serves.

    Raises:
        TooLittle: there are too few pages, or too few since the one that serves learned.
    """
    network, learned_until = _begun(running)
    rows, left_out = read(FeedbackLog(feedback).read(list(COLUMNS), since=since))
    try:
        candidate = training.train(rows, recipe, running=network, learned_until=learned_until)
    except ValueError as error:
        raise TooLittle(f"{feedback}: {error}; left out: {left_out}") from error
    return Learned(_files(candidate), _verdict(candidate))


def _begun(running: Path | None) -> tuple[Network | None, int]:
    if running is None:
        return None, 0
    try:
        network, manifest = folder.read(running)
    except BadModel as error:
        # Of another version, say: what serves can't go on learning, but a new one can take its place.
        log.warning("learned from nothing: %s", error)
        return None, 0
    return network, manifest.learned_until


def _files(candidate: training.Candidate) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as made:
        folder.write(candidate.network, Path(made), learned_until=candidate.learned_until)
        return {name: (Path(made) / name).read_bytes() for name in (GRAPH, WEIGHTS, MANIFEST)}


def _verdict(candidate: training.Candidate) -> Verdict:
    figures = {f"log_loss_{name}": loss for name, loss in candidate.losses.items()}
    for objective, measured in candidate.figures.items():
        figures |= {f"{objective}_{name}": figure.value for name, figure in measured.items()}
    known = {name: round(value, 5) for name, value in figures.items() if math.isfinite(value)}
    known |= {f"rows_{name}": float(count) for name, count in candidate.rows.items()}
    if candidate.refused:
        return Verdict(False, candidate.refused, known)
    # A page is a case: its places hang together. What is worth most is the least loss.
    worth = {name: -losses for name, losses in candidate.by_page.items()}
    verdict = judged(worth["candidate"], baseline=worth["base"], running=worth.get("running"), name="log_likelihood")
    return replace(verdict, figures={**known, **verdict.figures})
