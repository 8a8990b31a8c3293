"""The towers, trained on a log: full or sampled softmax over the videos, with what popularity explains taken away."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.retrieval.gradients import softmax_loss
from models.retrieval.log import WatchLog
from models.retrieval.packing import ROW, Packed, packed
from models.retrieval.recipe import Recipe
from models.retrieval.towers import Towers, known
from streams.features import Vector

# Of the full rate, at the end: a schedule that ends at nothing learns nothing of its last steps.
LEAST_RATE = 0.01
# Is told the loss of each step.
Done = Callable[[float], None]


def nobody(loss: float) -> None:
    """Tell nobody."""


def train(
    log: WatchLog,
    titles: Vector,
    recipe: Recipe,
    *,
    device: torch.device | None = None,
    done: Done = nobody,
) -> Towers:
    """Return towers that learned from a log; `titles` are the embeddings of its videos' titles, (m, d).

    `done` is told the loss of each step, of which there are `steps(log, recipe)`. On a CPU the same seed gives the
    same towers.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    facts = known(log, titles, recipe, device)
    towers = Towers(recipe, facts).to(device)
    average = AveragedModel(towers, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging)) if recipe.averaging else None
    optimiser = torch.optim.AdamW(decayed(towers, recipe), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _rate(recipe, steps(log, recipe)))
    towers.train()
    for _ in range(recipe.epochs):
        for batch in packed(log, rng).batches(recipe.places // ROW, device):
            loss = loss_of(towers, batch, recipe)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            if average is not None:
                average.update_parameters(towers)
            done(float(loss.detach()))
    if average is not None:
        towers.load_state_dict(average.module.state_dict())
    return towers.eval()


def steps(log: WatchLog, recipe: Recipe) -> int:
    """Return how many steps training takes."""
    places = int(np.maximum(log.lengths - 1, 0).sum())
    return recipe.epochs * math.ceil(math.ceil(places / ROW) / (recipe.places // ROW))


def decayed(towers: Towers, recipe: Recipe) -> list[dict[str, Any]]:
    """Return the weights in two groups: a scale that decayed would make all scores alike, whatever the vectors."""
    scales = [weight for name, weight in towers.named_parameters() if name == "sharpness"]
    others = [weight for name, weight in towers.named_parameters() if name != "sharpness"]
    return [{"params": others, "weight_decay": recipe.weight_decay}, {"params": scales, "weight_decay": 0.0}]


def _rate(recipe: Recipe, total: int) -> Callable[[int], float]:
    warm_up = max(1, min(recipe.warm_up, total // 3))

    def rate(step: int) -> float:
        if not total:
            return 0.0
        return min(1.0, (step + 1) / warm_up) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / total))) + LEAST_RATE

    return rate


def loss_of(towers: Towers, batch: Packed, recipe: Recipe) -> Tensor:
    """Return the mean loss of a batch, in nats, over what is wanted in it."""
    facts = towers.video.known
    videos = towers.video()
    causal = torch.ones(ROW, ROW, dtype=torch.bool, device=videos.device).tril()
    mask = ((batch.segments[:, :, None] == batch.segments[:, None, :]) & causal)[:, None]
    viewers = towers.viewer(videos[batch.watched], batch.interest, batch.gaps, batch.places, mask).flatten(0, 1)
    viewers, videos = towers.compared(viewers, videos)
    wanted = batch.wanted.flatten(0, 1)
    # Stretches of which only the end is learned from are mostly places after which nothing is wanted.
    some = (wanted >= 0).any(1)
    viewers, wanted = viewers[some], wanted[some]
    weights = (wanted >= 0).float() * torch.tensor([1.0, recipe.second_next], device=videos.device)
    prior = recipe.prior * (facts.log_prior - facts.log_prior.mean())
    if recipe.negatives is not None:
        drawn, likely = _drawn(wanted, weights, facts.counts, recipe.negatives)
        videos, prior = videos[drawn], prior[drawn] - likely.log()
        wanted = torch.searchsorted(drawn, wanted.clamp(min=0)) * (wanted >= 0)
    # The prior is one more dimension while training; vectors that serve do without.
    viewers = torch.cat([viewers, torch.ones_like(viewers[:, :1])], 1)
    videos = torch.cat([videos, prior[:, None]], 1)
    return softmax_loss(viewers, videos, wanted.clamp(min=0), weights) / weights.sum().clamp(min=1e-9)


def _drawn(wanted: Tensor, weights: Tensor, counts: Tensor, negatives: int) -> tuple[Tensor, Tensor]:
    """Return the videos of this step's softmax, sorted: those wanted and some at random; and how likely each was among them."""
    at_random = torch.randperm(len(counts), device=counts.device)[:negatives]
    drawn = torch.unique(torch.cat([wanted[wanted >= 0], at_random]))
    expected = (weights > 0).sum() * counts[drawn] / counts.sum()
    # Missed by the draw, which takes none twice, and not wanted by anybody of the batch either.
    missed = (1 - min(1.0, negatives / len(counts))) * torch.exp(-expected)
    return drawn, 1 - missed
