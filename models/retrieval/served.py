"""The towers as they serve: vectors of videos and of what viewers want, by ONNX Runtime, without what trained them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.retrieval.codes import Codes
from models.retrieval.gaps import gaps
from models.retrieval.log import History
from models.retrieval.reading import Reading
from models.retrieval.terms import Group, Terms
from streams.features import Vector

# What the files mean; of another format they are refused, and the running towers stay.
FORMAT = 2
ABOUT, KNOWN, VIDEO, VIEWER = "towers.json", "known.npz", "video.onnx", "viewer.onnx"
# A video that came after the log appeared last.
NEWEST = 1.0


class BadTowers(ValueError):
    """These files are no towers that can serve. The message says what was expected and what came."""


class ServedTowers:
    """Both towers of a release. The dot product of a viewer's vector and a video's says how much it is wanted."""

    def __init__(self, folder: Path, *, dimensions: int) -> None:
        """Load the files of `models.retrieval.export`; `dimensions` are those of the embeddings that will be given.

        Raises:
            BadTowers: they are not whole, of another format, for other embeddings, or give no finite numbers.
        """
        try:
            about = json.loads((folder / ABOUT).read_bytes())
            if about["format"] != FORMAT:
                raise BadTowers(f"{folder / ABOUT}: expected format {FORMAT}, got {about['format']}; train the towers again")
            if about["dimensions"] != dimensions:
                came = about["dimensions"]
                raise BadTowers(f"{folder / ABOUT}: expected towers for {dimensions}-d embeddings, got {came}; train anew")
            self.width, self.history = int(about["width"]), int(about["history"])
            terms = Terms(tuple(Group(**group) for group in about["terms"]))
            with np.load(folder / KNOWN) as known:
                self._reading = Reading(known["centre"], float(about["scale"]), terms, Codes(known["codes"]))
                self._known = {name: row for row, name in enumerate(known["ids"].tolist())}
                self._watched, self._appeared = known["watched"], known["appeared"]
            self._video, self._viewer = _session(folder / VIDEO), _session(folder / VIEWER)
            vectors = self.videos(["", ""], ["", "a title"], np.zeros((2, dimensions), np.float32))
            wanted = self.wanted(vectors, History(np.arange(2), np.ones(2, np.float32), np.arange(2)))
        except BadTowers:
            raise
        except Exception as error:
            # ONNX Runtime has errors of its own for what is cut off, numpy has others.
            raise BadTowers(f"{folder}: expected whole towers, got {type(error).__name__}: {error}") from error
        if wanted.shape != (self.width,) or not (np.isfinite(vectors).all() and np.isfinite(wanted).all()):
            raise BadTowers(f"{folder}: expected {self.width} finite numbers of a viewer, got shape {wanted.shape} or NaN")

    def videos(self, video_ids: Sequence[str], texts: Sequence[str], embeddings: Vector) -> Vector:
        """Return the vectors of k videos, (k, width), by their ids, titles with tags, and embeddings, (k, d).

        What their watches told is known of those that the towers learned from; all others are new.
        """
        features = self._reading.features(texts, embeddings).tocoo()
        rows = [self._known.get(video_id) for video_id in video_ids]
        watched = np.zeros((len(rows), self.width), np.float32)
        appeared = np.full(len(rows), NEWEST, np.float32)
        places = [place for place, row in enumerate(rows) if row is not None]
        known = [row for row in rows if row is not None]
        watched[places], appeared[places] = self._watched[known], self._appeared[known]
        return _run(
            self._video,
            titles=self._reading.scaled(embeddings),
            rows=features.row.astype(np.int64),
            columns=features.col.astype(np.int64),
            weights=features.data.astype(np.float32),
            appeared=appeared,
            watched=watched,
        )

    def wanted(self, videos: Vector, history: History) -> Vector:
        """Return what is wanted, (width,), after a history that is not empty; its rows are of `videos`, (m, width)."""
        recent = history[-self.history :]
        return _run(
            self._viewer,
            watched=videos[recent.videos],
            interest=recent.interest,
            gaps=gaps(recent.at, np.arange(len(recent))),
        )


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # A second thread would spin beside the requests, for graphs that take a millisecond.
    options.intra_op_num_threads = 1
    # Its arena keeps what the largest batch ever took.
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, **inputs: NDArray[Any]) -> Vector:
    # A graph of a recipe without terms or gaps, say, has no such inputs.
    wanted = {each.name for each in session.get_inputs()}
    output: Vector = session.run(None, {name: value for name, value in inputs.items() if name in wanted})[0]
    return output
