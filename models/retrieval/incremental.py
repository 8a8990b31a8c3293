"""Towers that go on learning while they run: from the newest watches and a draw of older ones, every so often.

Each update starts from what the last one left (Monolith, Liu et al. 2022); one that finds the newest watches worse than before
is thrown away.
"""

import copy
import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from models.retrieval.checkpoint import BadCheckpoint, Checkpoint
from models.retrieval.log import WatchLog
from models.retrieval.packing import ROW, packed
from models.retrieval.recipe import Recipe
from models.retrieval.towers import INITIAL, Towers, known
from models.retrieval.training import Done, decayed, loss_of, nobody, train
from models.retrieval.windows import Chosen, joined, windows, windows_of
from streams.features import Vector

# The table of ids among the towers' weights: the only one that grows with the videos.
IDS = "video.ids"


@dataclass(frozen=True)
class Refresh:
    """How running towers learn on."""

    # Higher follows faster and forgets more: the rate stays, where training from nothing ends near zero.
    learning_rate: float = 3e-4
    # Older watches learned again for each new one: fewer forget, more take longer.
    replayed: float = 4.0
    # Rows of 128 places of a step: fewer are more steps, each of more noise.
    rows: int = 8
    # One in ten of the newest watches is held out, so many at most: fewer say less, more cost each update time.
    held: int = 32
    # By how much an update may make the loss of what is held out worse, in nats: less throws luck away, more lets drift pass.
    margin: float = 0.25
    # Growth of the log after which neighbours and places are made anew: less takes time, more leaves them behind.
    growth: float = 0.01


@dataclass(frozen=True)
class Updated:
    """What came of an update: the loss of what is held out before and after it, in nats, and why it was `refused` if so."""

    refused: str
    before: float
    after: float
    learned: int
    seconds: float


class RunningTowers:
    """Towers, and what it takes to train them on. On a CPU the same seed and the same logs give the same towers."""

    def __init__(self, recipe: Recipe, refresh: Refresh, *, device: torch.device | None = None) -> None:
        self.recipe, self.refresh = recipe, refresh
        self._device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._rng = np.random.default_rng(recipe.seed)

    def start(self, log: WatchLog, titles: Vector, *, done: Done = nobody) -> None:
        """Train from nothing; `titles` are the embeddings of the titles of the log's videos, (m, d)."""
        self._run(train(log, titles, self.recipe, device=self._device, done=done), log)

    def resume(self, checkpoint: Checkpoint, log: WatchLog, titles: Vector) -> None:
        """Go on from where others of the recipe ended. The log begins with their videos; new ones come after them.

        Raises:
            BadCheckpoint: its weights are of other towers.
        """
        torch.manual_seed(self.recipe.seed)
        facts = known(log, titles, self.recipe, self._device, reading=checkpoint.reading)
        towers = Towers(self.recipe, facts).to(self._device)
        weights, moments = dict(checkpoint.weights), {name: dict(each) for name, each in checkpoint.moments.items()}
        if towers.video.ids is not None and IDS in weights:
            # Of a video that is new to them the id is where it begins.
            begun = towers.video.ids.detach()[len(weights[IDS]) :]
            weights[IDS] = torch.cat([weights[IDS].to(self._device), begun])
            moments[IDS] = {name: _longer(value, len(begun)) for name, value in moments.get(IDS, {}).items()}
        try:
            towers.load_state_dict(weights)
        except RuntimeError as error:
            raise BadCheckpoint(f"expected weights of towers of the recipe: {error}") from error
        self._run(towers.eval(), log)
        for name, weight in towers.named_parameters():
            if moments.get(name):
                self.optimiser.state[weight] = {of: value.to(self._device) for of, value in moments[name].items()}

    def checkpoint(self, log: WatchLog, *, began: int, until: int) -> Checkpoint:
        """Return what it takes to go on from here another time."""
        return Checkpoint.of(self.towers, log.video_ids, began=began, until=until, optimiser=self.optimiser)

    def _run(self, towers: Towers, log: WatchLog) -> None:
        self.towers = towers
        self.optimiser = torch.optim.AdamW(decayed(towers, self.recipe), lr=self.refresh.learning_rate)
        self._facts_of = len(log)

    def update(self, log: WatchLog, titles: Vector, new: Chosen, *, done: Done = nobody) -> Updated:
        """Learn from the watches of a log that are `new`, (n,), and from a draw of the others.

        The videos that were there keep their rows; new ones come after them. `done` is told the loss of each step.
        """
        began = time.perf_counter()
        self._know(log, titles)
        held = held_out(log, self.refresh.held)
        guard = windows_of(log, held)
        before = self._loss(*guard)
        weights, optimiser = copy.deepcopy(self.towers.state_dict()), copy.deepcopy(self.optimiser.state_dict())
        learned = self._learn(log, new & ~held, ~new & ~held, done)
        after = self._loss(*guard)
        refused = _refused(before, after, self.refresh.margin)
        if refused:
            self.towers.load_state_dict(weights)
            self.optimiser.load_state_dict(optimiser)
        return Updated(refused, before, after, learned, time.perf_counter() - began)

    def steps(self, new: Chosen) -> int:
        """Return about how many steps an update takes that learns from so many new watches."""
        return math.ceil((1 + self.refresh.replayed) * int(new.sum()) / (ROW * self.refresh.rows))

    def _know(self, log: WatchLog, titles: Vector) -> None:
        video = self.towers.video
        more = len(log.video_ids) > len(video.known.counts)
        if more or len(log) > self._facts_of * (1 + self.refresh.growth):
            facts = video.known
            video.known = known(
                log, titles, self.recipe, self._device, reading=facts.reading, terms=None if more else facts.terms
            )
            self._facts_of = len(log)
        else:
            video.known = replace(video.known, counts=torch.from_numpy(log.counts()).float().to(self._device))
        if more and video.ids is not None:
            video.ids = self._grown(video.ids, len(log.video_ids))

    def _grown(self, ids: nn.Parameter, videos: int) -> nn.Parameter:
        """Return the ids with one for each new video, as at the start; what Adam knows of the old ones stays."""
        drawn = torch.from_numpy(self._rng.normal(0, INITIAL, (videos - len(ids), ids.shape[1]))).to(ids)
        grown = nn.Parameter(torch.cat([ids.detach(), drawn]))
        for group in self.optimiser.param_groups:
            group["params"] = [grown if weight is ids else weight for weight in group["params"]]
        self.optimiser.state[grown] = {
            name: _longer(value, len(drawn)) for name, value in self.optimiser.state.pop(ids, {}).items()
        }
        return grown

    def _learn(self, log: WatchLog, new: Chosen, old: Chosen, done: Done) -> int:
        """Take steps through the new watches and stretches of old ones; return how many watches that were."""
        wanted = math.ceil(self.refresh.replayed * int(new.sum()))
        drawn = self._rng.permutation(np.flatnonzero(old))[:wanted]
        stretches, rows = windows(log, drawn[: np.searchsorted(windows(log, drawn)[0].bounds, wanted)])
        every, learned = joined(windows_of(log, new), (stretches, old[rows]))
        # What is dropped out is drawn from torch's one generator, which whatever else runs here uses too.
        torch.manual_seed(int(self._rng.integers(2**31)))
        self.towers.train()
        for batch in packed(every, self._rng, learned=learned).batches(self.refresh.rows, self._device):
            if (batch.wanted >= 0).any():
                loss = loss_of(self.towers, batch, self.recipe)
                self.optimiser.zero_grad(set_to_none=True)
                loss.backward()
                self.optimiser.step()
                done(float(loss.detach()))
        self.towers.eval()
        return int(learned.sum())

    @torch.no_grad()
    def _loss(self, stretches: WatchLog, learned: Chosen) -> float:
        rows = packed(stretches, np.random.default_rng(0), learned=learned)
        return sum(
            float(loss_of(self.towers, batch, self.recipe)) for batch in rows.batches(max(1, len(rows.watched)), self._device)
        )


def _longer(value: Tensor, by: int) -> Tensor:
    """Return what Adam remembers of a table with nothing of so many new rows; a number of steps stays."""
    return torch.cat([value, value.new_zeros(by, *value.shape[1:])]) if value.dim() else value


def held_out(log: WatchLog, most: int) -> Chosen:
    """Return which watches of a log, (n,), no update learns from yet: of the newest one in ten, always the same ones.

    When newer ones took their place they may be learned from, drawn with the older ones.
    """
    # By what a watch is and not by a draw: as the log grows, the same ones are held out.
    mixed = (log.at // 1000 * 1_000_003 + log.videos * 7_919) % 1_009
    candidates = np.flatnonzero(mixed % 10 == 0)
    newest = candidates[np.argsort(log.at[candidates], kind="stable")[-most:]] if most else candidates[:0]
    held = np.zeros(len(log), bool)
    held[newest] = True
    return held


def _refused(before: float, after: float, margin: float) -> str:
    if not math.isfinite(after):
        return "its loss is no number"
    if after > before + margin:
        return f"the loss of what is held out rose from {before:.2f} to {after:.2f}"
    return ""
