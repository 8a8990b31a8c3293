"""From rows of the feedback log to a ranker that may serve: learned from the older, calibrated on newer, judged by the newest.

A candidate that is worse on the newest rows than the one that runs, or than knowing base rates alone, is refused and says why.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.ranking import calibration
from models.ranking.figures import Measured, Values, calibration_error, log_loss, measured
from models.ranking.network import Network
from models.ranking.objectives import OBJECTIVES
from models.ranking.recipe import Recipe
from models.ranking.rows import Rows

Known = NDArray[np.bool_]


@dataclass(frozen=True)
class Parts:
    """Rows cut by time, at the ends of pages: what is learned from, calibrated on, and judged by, the oldest first."""

    learned: Rows
    calibrated: Rows
    judged: Rows


@dataclass(frozen=True)
class Candidate:
    """A trained network, its figures on the newest rows, and why it must not serve; empty where it may.

    `by_page` has the loss of each judged page, (pages,), by the names of `losses`. `figures` are by objective; `ece_before` is
    the error before calibration of those that are not at their base rate. `learned_until` is the newest time, Unix ms, of what
    it learned from.
    """

    network: Network
    refused: str
    losses: Mapping[str, float] = field(default_factory=dict)
    by_page: Mapping[str, Values] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, Measured]] = field(default_factory=dict)
    ece_before: Mapping[str, float] = field(default_factory=dict)
    learned_until: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    rows_per_s: float = 0.0


def cut(rows: Rows, recipe: Recipe) -> Parts:
    """Return `rows`, the oldest first, in three parts by time.

    Raises:
        ValueError: there are too few pages for three parts.
    """
    at = [int(len(rows) * share) for share in (1.0 - recipe.judged_share - recipe.calibrated_share, 1.0 - recipe.judged_share)]
    # All places of a page, and all pages of one millisecond, are on one side.
    first, second = (int(np.searchsorted(rows.served_at, rows.served_at[place])) if len(rows) else 0 for place in at)
    if not 0 < first < second < len(rows):
        raise ValueError(f"expected pages of ten times or more to learn from, got {len(rows)} places that were looked at")
    place = np.arange(len(rows))
    return Parts(rows.of(place[:first]), rows.of(place[first:second]), rows.of(place[second:]))


def train(rows: Rows, recipe: Recipe, *, running: Network | None = None, learned_until: int = 0) -> Candidate:
    """Return a candidate, the same for the same seed; where one is `running`, it goes on from its weights.

    What came after `learned_until`, Unix ms, is then what is cut in three; beside it, it learns from as many older rows again.
    The next training takes up where this one's learning ended: no page is lost to a judgement.

    Raises:
        ValueError: there are too few pages, or too few new ones.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    parts = cut(rows if running is None else rows.of(rows.served_at > learned_until), recipe)
    learned = parts.learned if running is None else _replayed(parts.learned, rows, learned_until, recipe, rng)
    network = _begun(learned, recipe, running)
    base, learnable = _base_rates(learned, recipe)
    began = time.perf_counter()
    finite = _fit(network, learned, parts.calibrated, learnable, recipe, warm=running is not None, rng=rng)
    took_s = time.perf_counter() - began
    _calibrate(network, parts.calibrated, base, learnable)
    uncalibrated = _uncalibrated(network, parts.judged)
    predicted = network.predict(parts.judged.features, parts.judged.positions).astype(np.float64)
    counts = {name: len(getattr(parts, name)) for name in ("learned", "calibrated", "judged")} | {"used": len(learned)}
    if not finite or not np.isfinite(predicted).all():
        return Candidate(network, "what it predicts is no number: its weights or rows are broken", rows=counts)
    all_of = {"candidate": predicted, "base": np.broadcast_to(base, predicted.shape)}
    if running is not None:
        all_of["running"] = running.predict(parts.judged.features, parts.judged.positions).astype(np.float64)
    losses = {name: _loss(each, parts.judged) for name, each in all_of.items()}
    figures, before = {}, {}
    scaled = network.scale.numpy() > 0.0
    for place, name in enumerate(OBJECTIVES):
        known = parts.judged.known[:, place]
        values, viewers = parts.judged.values[known, place].astype(np.float64), parts.judged.viewers[known]
        figures[name] = measured(predicted[known, place], values, float(base[place]), viewers, seed=recipe.seed)
        if scaled[place]:
            before[name] = calibration_error(uncalibrated[known, place], values)
    return Candidate(
        network=network,
        refused=_refusal(losses),
        losses=losses,
        by_page={name: _by_page(each, parts.judged) for name, each in all_of.items()},
        figures=figures,
        ece_before=before,
        learned_until=int(parts.learned.served_at[-1]),
        rows=counts,
        rows_per_s=round(recipe.epochs * len(learned) / took_s),
    )


def _replayed(new: Rows, rows: Rows, learned_until: int, recipe: Recipe, rng: np.random.Generator) -> Rows:
    """Return `new` rows with older ones of `rows` before them, drawn at random."""
    old = np.flatnonzero(rows.served_at <= learned_until)
    drawn = rng.choice(old, min(len(old), round(recipe.replay * len(new))), replace=False)
    return rows.of(np.sort(drawn)).and_then(new)


def _begun(rows: Rows, recipe: Recipe, running: Network | None) -> Network:
    network = Network.of(recipe, rows.features)
    if running is not None:
        # How inputs are scaled too: the weights mean nothing without.
        network.load_state_dict(running.state_dict())
        network.scale.fill_(1.0)
        network.shift.fill_(0.0)
    return network


def _base_rates(rows: Rows, recipe: Recipe) -> tuple[Values, Known]:
    """Return each objective's mean, half a case added to each side, and whether there is enough of it to learn from."""
    count = rows.known.sum(axis=0)
    cases = (rows.values * rows.known).sum(axis=0, dtype=np.float64)
    return (cases + 0.5) / (count + 1.0), np.minimum(cases, count - cases) >= recipe.least_cases


def _fit(
    network: Network, rows: Rows, held: Rows, learnable: Known, recipe: Recipe, *, warm: bool, rng: np.random.Generator
) -> bool:
    """Teach `network` until `held` gains no more: it keeps the weights of its best epoch. Return whether all was a number."""
    rate = recipe.learning_rate * (recipe.warm_rate if warm else 1.0)
    others = [weight for name, weight in network.named_parameters() if name != "places"]
    # What the place explains is to be found first: what mostly stands there is credited with it else.
    places = {"params": [network.places], "weight_decay": 0.0, "lr": rate * recipe.places_rate}
    optimiser = torch.optim.AdamW([{"params": others, "weight_decay": recipe.weight_decay}, places], lr=rate)
    steps = recipe.epochs * -(-len(rows) // recipe.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    taught = torch.from_numpy(learnable.astype(np.float32))
    whole = [torch.from_numpy(part) for part in (rows.features, rows.positions, rows.values, rows.known.astype(np.float32))]
    best, least = {name: weight.clone() for name, weight in network.state_dict().items()}, np.inf
    for _ in range(recipe.epochs):
        network.train()
        for chosen in torch.from_numpy(rng.permutation(len(rows))).split(recipe.batch):
            features, positions, values, known = (part[chosen] for part in whole)
            loss = (_losses(network.placed(features, positions), values, known) * taught).sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
        lost = _loss(network.predict(held.features, held.positions).astype(np.float64), held, learnable)
        if not np.isfinite(lost):
            return False
        if lost < least:
            best, least = {name: weight.clone() for name, weight in network.state_dict().items()}, lost
    network.load_state_dict(best)
    network.eval()
    return True


def _losses(logits: Tensor, values: Tensor, known: Tensor) -> Tensor:
    """Return each objective's mean cross entropy over the rows where it is known, (objectives,)."""
    each = functional.binary_cross_entropy_with_logits(logits, values, reduction="none") * known
    return each.sum(dim=0) / known.sum(dim=0).clamp(min=1.0)


def _calibrate(network: Network, rows: Rows, base: Values, learnable: Known) -> None:
    logits = _logits(network, rows)
    for place in range(len(OBJECTIVES)):
        known = rows.known[:, place]
        scale, shift = 0.0, calibration.logit(float(base[place]))
        if learnable[place]:
            values = rows.values[known, place].astype(np.float64)
            found = calibration.fitted(logits[known, place], values)
            by_base = log_loss(np.full(len(values), base[place]), values).sum()
            # What was learned by heart does not hold on rows that were not learned from: better to know the base rate alone.
            if log_loss(calibration.sigmoid(logits[known, place] * found[0] + found[1]), values).sum() < by_base:
                scale, shift = found
        network.scale[place], network.shift[place] = scale, shift


def _logits(network: Network, rows: Rows) -> Values:
    network.eval()
    with torch.inference_mode():
        logits = network.placed(torch.from_numpy(rows.features), torch.from_numpy(rows.positions))
    return np.asarray(logits.numpy(), np.float64)


def _uncalibrated(network: Network, rows: Rows) -> Values:
    return calibration.sigmoid(_logits(network, rows))


def _loss(predicted: Values, rows: Rows, objectives: Known | None = None) -> float:
    """Return the log-loss in nats, a mean over the rows of each objective, summed over objectives."""
    each = log_loss(predicted, rows.values.astype(np.float64)) * rows.known
    mean = each.sum(axis=0) / np.maximum(1, rows.known.sum(axis=0))
    return float(mean.sum() if objectives is None else mean[objectives].sum())


def _by_page(predicted: Values, rows: Rows) -> Values:
    """Return the log-loss of each page, (pages,): of its places and all their objectives, a mean over places."""
    each = (log_loss(predicted, rows.values.astype(np.float64)) * rows.known).sum(axis=1)
    _, page = np.unique(np.stack([rows.viewers, rows.served_at]), axis=1, return_inverse=True)
    return np.asarray(np.bincount(page.ravel(), each) / np.bincount(page.ravel()))


def _refusal(losses: Mapping[str, float]) -> str:
    for name, what in (("running", "the ranker that runs"), ("base", "base rates alone")):
        if name in losses and losses["candidate"] > losses[name]:
            return f"its log-loss on the newest pages is {losses['candidate']:.4f}, that of {what} {losses[name]:.4f}"
    return ""
