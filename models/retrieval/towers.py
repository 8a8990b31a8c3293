"""Two towers into one space: what a video is, and what a viewer of some videos wants next. Their dot product is the score.

The viewer tower is a causal transformer over the vectors of the last 50 videos watched (SASRec, Kang and McAuley 2018), each
with what was done with it and how long after the one before. The video tower sees what is in a video and when it appeared, and
what its watches tell where there are any, so that a video of this minute and one of last month lie in the same space.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.retrieval.appearance import appeared
from models.retrieval.gaps import gaps
from models.retrieval.gradients import Sparse
from models.retrieval.log import History, WatchLog
from models.retrieval.neighbours import neighbours
from models.retrieval.reading import Reading
from models.retrieval.recipe import HISTORY, Recipe
from streams.features import Vector

INITIAL = 0.02
# Overlapping bumps over 0..1, the order of appearance say: each learns what is watched of its time.
BUMPS = 16


@dataclass(frozen=True)
class Known:
    """What is known of m videos before training, as the video tower takes it."""

    reading: Reading
    titles: Tensor
    terms: Sparse
    appeared: Tensor
    neighbours: Sparse
    counts: Tensor

    @property
    def log_prior(self) -> Tensor:
        """Return the logarithm of how likely each video is to be watched by anybody, (m,)."""
        smoothed = self.counts + 0.5
        return (smoothed / smoothed.sum()).log()


def known(
    log: WatchLog,
    titles: Vector,
    recipe: Recipe,
    device: torch.device,
    *,
    reading: Reading | None = None,
    terms: Sparse | None = None,
) -> Known:
    """Return what a log and the embeddings of its videos' titles, (m, d), tell.

    With a `reading` titles are read by that, and what learned from them so reads the same of what is known now. `terms` are the
    videos' already, if they are known.
    """
    reading = reading or Reading.made_of(log, titles, recipe)
    return Known(
        reading=reading,
        titles=torch.from_numpy(reading.scaled(titles)).to(device),
        terms=terms or Sparse(reading.features(log.texts, titles), device),
        appeared=torch.from_numpy(appeared(log)).to(device),
        neighbours=Sparse(neighbours(log), device),
        counts=torch.from_numpy(log.counts()).float().to(device),
    )


class VideoTower(nn.Module):
    """What is known of all videos to their vectors, (m, width)."""

    def __init__(self, recipe: Recipe, known: Known) -> None:
        super().__init__()
        self.recipe, self.known = recipe, known
        videos, terms = known.terms.shape
        self.titles = nn.Linear(known.titles.shape[1], recipe.width) if recipe.titles else None
        self.terms = _table(terms, recipe.width) if terms else None
        self.ids = _table(videos, recipe.width) if recipe.ids else None
        self.when = _of_bumps(recipe.width, 3 * INITIAL) if recipe.appearance else None

    def content(self) -> Tensor:
        """Return the part that a video has before anybody watched it, (m, width)."""
        vectors = torch.zeros(len(self.known.counts), self.recipe.width, device=self.known.counts.device)
        if self.titles is not None:
            vectors = vectors + self.titles(functional.dropout(self.known.titles, self.recipe.title_dropout, self.training))
        if self.terms is not None:
            vectors = vectors + self.known.terms.times(self.terms)
        return vectors

    def forward(self) -> Tensor:
        content = self.content()
        return content + self.watched(content) + self._appearance()

    def watched(self, content: Tensor) -> Tensor:
        """Return what watches tell: its id, the surer the more there are, and its neighbours. Nothing of a new video."""
        if self.ids is None:
            return torch.zeros_like(content)
        counts = self.known.counts
        # SASRec has ids of every video and no shrinkage; a video that nobody watched is then where its id began.
        sure = counts / (counts + self.recipe.shrinkage) if self.recipe.shrinkage else torch.ones_like(counts)
        told = self.ids * sure[:, None]
        if self.recipe.neighbours:
            told = told + self.known.neighbours.times(content + self.ids)
        if self.training and self.recipe.id_dropout:
            told = told * (torch.rand_like(counts) >= self.recipe.id_dropout).float()[:, None]
        return told

    def _appearance(self) -> Tensor | float:
        if self.when is None:
            return 0.0
        at = self.known.appeared
        if self.training:
            at = at + self.recipe.appearance_jitter * torch.randn_like(at) / self.known.counts.clamp(min=1).sqrt()
        spread = bumps(at)
        if self.training:
            spread = spread * (torch.rand_like(at) >= self.recipe.appearance_dropout).float()[:, None]
        placed: Tensor = self.when(spread)
        return placed


def bumps(at: Tensor) -> Tensor:
    """Return places, (...) in 0..1, as how near each is to each of 16 places between, (..., 16)."""
    centres = torch.linspace(0, 1, BUMPS, device=at.device)
    return torch.exp(-0.5 * ((at[..., None] - centres) * (BUMPS - 1)) ** 2)


class ViewerTower(nn.Module):
    """The vectors of watched videos, oldest first, (n, places, width), to what is wanted after each, of the same shape.

    The interest that was shown in each and the `gaps` before them are (n, places).
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.dropout = recipe.dropout
        self.positions = _table(HISTORY, recipe.width)
        self.actions = _of_bumps(recipe.width, INITIAL) if recipe.actions else None
        self.gaps = _of_bumps(recipe.width, INITIAL) if recipe.gaps else None
        self.blocks = nn.ModuleList(Block(recipe.width, recipe.heads, recipe.dropout) for _ in range(recipe.blocks))
        self.norm = nn.LayerNorm(recipe.width)

    def forward(self, watched: Tensor, interest: Tensor, gaps: Tensor, places: Tensor, mask: Tensor) -> Tensor:
        x = watched + self.positions[places]
        if self.actions is not None:
            x = x + self.actions(bumps(interest))
        if self.gaps is not None:
            x = x + self.gaps(bumps(gaps))
        x = functional.dropout(x, self.dropout, self.training)
        for block in self.blocks:
            x = block(x, mask)
        wanted: Tensor = self.norm(x)
        return wanted


class Block(nn.Module):
    """One layer of a transformer, normalised before each part."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        n, places, width = x.shape
        shape = (n, places, 3, self.heads, width // self.heads)
        query, key, value = self.qkv(self.before_attention(x)).view(shape).permute(2, 0, 3, 1, 4)
        rate = self.dropout if self.training else 0.0
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=rate)
        x = x + functional.dropout(self.out(seen.transpose(1, 2).reshape(n, places, width)), rate)
        return x + functional.dropout(self.down(functional.gelu(self.up(self.before_mlp(x)))), rate)


class Towers(nn.Module):
    """Both towers, and how their vectors are compared."""

    def __init__(self, recipe: Recipe, known: Known) -> None:
        super().__init__()
        self.recipe = recipe
        self.viewer, self.video = ViewerTower(recipe), VideoTower(recipe, known)
        self.sharpness = nn.Parameter(torch.tensor(-float(np.log(recipe.temperature)))) if recipe.temperature else None

    def wanted_next(self, videos: Tensor, histories: Sequence[History]) -> Tensor:
        """Return what viewers want next, (viewers, width), by what they watched and all videos' vectors."""
        recent = [history[-HISTORY:] for history in histories]
        lengths = torch.tensor([len(history) for history in recent], device=videos.device)
        longest = max(map(len, recent))

        def padded(rows: Iterable[NDArray[Any]]) -> Tensor:
            return torch.from_numpy(np.stack([np.pad(row, (0, longest - len(row))) for row in rows])).to(videos.device)

        causal = torch.ones(longest, longest, dtype=torch.bool, device=videos.device).tril()
        places = torch.arange(longest, device=videos.device)
        wanted: Tensor = self.viewer(
            videos[padded(history.videos for history in recent)],
            padded(history.interest for history in recent),
            padded(gaps(history.at, np.arange(len(history))) for history in recent),
            places,
            causal,
        )
        return wanted[torch.arange(len(recent), device=videos.device), lengths - 1]

    def compared(self, viewers: Tensor, videos: Tensor) -> tuple[Tensor, Tensor]:
        """Return vectors of viewers, (n, width), and videos, (m, width), whose dot products are the scores."""
        if self.sharpness is None:
            return viewers, videos
        return functional.normalize(viewers, dim=-1) * self.sharpness.exp(), functional.normalize(videos, dim=-1)


def _of_bumps(width: int, deviation: float) -> nn.Linear:
    weights = nn.Linear(BUMPS, width, bias=False)
    nn.init.normal_(weights.weight, std=deviation)
    return weights


def _table(rows: int, width: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(rows, width) * INITIAL)
