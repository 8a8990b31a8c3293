"""Trained towers as the files of a release: two graphs for ONNX Runtime, and what is known of the videos they learned from."""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.export import graph
from models.retrieval.log import WatchLog
from models.retrieval.reading import Reading
from models.retrieval.recipe import HISTORY
from models.retrieval.served import ABOUT, FORMAT, KNOWN, VIDEO, VIEWER
from models.retrieval.towers import Towers, bumps


class VideoGraph(nn.Module):
    """What is in k videos, when they appeared and what their watches tell, to their vectors, (k, width)."""

    def __init__(self, towers: Towers) -> None:
        super().__init__()
        tower = towers.video
        self.titles, self.terms, self.when = tower.titles, tower.terms, tower.when

    def forward(
        self, titles: Tensor, rows: Tensor, columns: Tensor, weights: Tensor, appeared: Tensor, watched: Tensor
    ) -> Tensor:
        vectors = watched
        if self.titles is not None:
            vectors = vectors + self.titles(titles)
        if self.terms is not None:
            vectors = vectors.index_add(0, rows, self.terms[columns] * weights[:, None])
        if self.when is not None:
            vectors = vectors + self.when(bumps(appeared))
        return vectors


class ViewerGraph(nn.Module):
    """The vectors of n watched videos, oldest first, (n, width), n up to 50, to what is wanted next, (width,).

    With the interest that was shown in each and the gaps before them, (n,).
    """

    def __init__(self, towers: Towers) -> None:
        super().__init__()
        self.viewer = towers.viewer

    def forward(self, watched: Tensor, interest: Tensor, gaps: Tensor) -> Tensor:
        places = torch.arange(watched.shape[0])
        causal = places[:, None] >= places[None, :]
        wanted: Tensor = self.viewer(watched[None], interest[None], gaps[None], places, causal)[0, -1]
        return wanted


def export(towers: Towers, log: WatchLog) -> dict[str, bytes]:
    """Return the files by their names, for `models.retrieval.served` to load; `log` is the one that the towers learned from.

    Raises:
        ValueError: towers that score by cosine. An index finds the largest dot product.
    """
    if towers.recipe.temperature:
        raise ValueError("towers that serve score by the dot product: recipe.temperature must be 0")
    towers = towers.cpu().eval()
    reading, width = towers.video.known.reading, towers.recipe.width
    dimensions = len(reading.centre)
    with torch.inference_mode():
        watched = towers.video.watched(towers.video.content()).numpy()
    about = {
        "format": FORMAT,
        "width": width,
        "dimensions": dimensions,
        "history": HISTORY,
        "scale": reading.scale,
        "terms": [asdict(group) for group in reading.terms.groups],
    }
    return {
        ABOUT: json.dumps(about, ensure_ascii=False).encode(),
        KNOWN: _known(log, reading, watched, towers.video.known.appeared.numpy()),
        VIDEO: _graph(VideoGraph(towers), _videos(width, dimensions), _VIDEO_AXES, "vectors"),
        VIEWER: _graph(ViewerGraph(towers), _watches(width), _WATCHES_AXES, "wanted"),
    }


def _known(log: WatchLog, reading: Reading, watched: Any, appeared: Any) -> bytes:
    """Return how videos are read, and what the log tells of those that were watched: of all others it is as of later ones."""
    rows = np.flatnonzero(log.counts() > 0)
    ids = np.array([log.video_ids[row] for row in rows], dtype=np.str_)
    with io.BytesIO() as out:
        np.savez(
            out,
            centre=np.asarray(reading.centre, np.float32),
            codes=reading.codes.centres,
            ids=ids,
            watched=watched[rows].astype(np.float16),
            appeared=appeared[rows].astype(np.float32),
        )
        return out.getvalue()


_VIDEO_AXES = {"titles": "k", "rows": "t", "columns": "t", "weights": "t", "appeared": "k", "watched": "k"}


def _videos(width: int, dimensions: int) -> dict[str, Tensor]:
    """Return inputs of two videos and three of their terms, by whose form the graph is traced."""
    return {
        "titles": torch.zeros(2, dimensions),
        "rows": torch.tensor([0, 1, 1]),
        "columns": torch.zeros(3, dtype=torch.int64),
        "weights": torch.ones(3),
        "appeared": torch.ones(2),
        "watched": torch.zeros(2, width),
    }


_WATCHES_AXES = {"watched": "n", "interest": "n", "gaps": "n"}


def _watches(width: int) -> dict[str, Tensor]:
    return {"watched": torch.zeros(3, width), "interest": torch.zeros(3), "gaps": torch.zeros(3)}


def _graph(model: nn.Module, inputs: Mapping[str, Tensor], axes: Mapping[str, str], output: str) -> bytes:
    free = {name: torch.export.Dim(name) for name in axes.values()}
    with graph.quiet():
        program = torch.onnx.export(
            model.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=tuple({0: free[axes[name]]} for name in inputs),
            verbose=False,
        )
    assert program is not None, "no path was given, so the graph is returned"
    serialized: bytes = program.model_proto.SerializeToString()
    return serialized
