"""Labelled clips, each perceived without its title: does it find its label among all labels?

A folder holds `clips.csv` with the columns `file` and `label`, and the files. Each is perceived as deep as the agent goes, step
by step, so that what a step costs and brings is seen beside the others.
"""

import csv
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import stamina

from models.perception.agent import PerceptionAgent
from models.perception.encoders import Encoder
from models.perception.understanding import Understanding
from models.settings import MediaSettings, StepSettings
from streams.codec import unpack_vector
from streams.events import Perception, StepName, Upload
from streams.features import Vector
from streams.ports import BadMedia, PerceptionUnavailable

# What is compared: the deepest step taken, and whether a glance that suffices ends it there.
DEPTHS: dict[str, tuple[StepName, bool]] = {
    "glance only": ("glance", False),
    "+ key frames": ("perceive", False),
    "+ text and sound": ("listen", False),
    "+ rewrite": ("rewrite", False),
    "as it runs": ("rewrite", True),
}


class NoClips(ValueError):
    """The folder is not one of labelled clips; the message says what was expected."""


@dataclass(frozen=True)
class LabelledClip:
    """A video file and what is to be seen in it, in words."""

    path: Path
    label: str


@dataclass(frozen=True)
class Retrieval:
    """How n clips find their labels: rank 1 is the nearest; `centred` after each label's mean over the clips is taken away."""

    ranks: tuple[int, ...]
    centred: tuple[int, ...]

    def recall(self, at: int, *, centred: bool = False) -> float:
        """Return the share of clips whose label is among the `at` nearest."""
        ranks = self.centred if centred else self.ranks
        return round(sum(rank <= at for rank in ranks) / len(ranks), 3)

    def mean_rank(self) -> float:
        """Return the mean rank of the labels; chance is half of n + 1."""
        return round(statistics.fmean(self.ranks), 2)


@dataclass(frozen=True)
class Depth:
    """One depth of perception over all clips. `took_ms` is from the file to the perception, the decoding included."""

    name: str
    perceptions: tuple[Perception, ...]
    took_ms: tuple[float, ...]
    retrieval: Retrieval

    def spared(self) -> float:
        """Return the share of clips whose key frames were not looked for."""
        glances = sum(all(step.name != "key_frames" for step in each.steps) for each in self.perceptions)
        return round(glances / len(self.perceptions), 3)

    def rewritten(self) -> float:
        """Return the share of clips whose rewrite came."""
        rewrites = sum(any(step.name == "rewrite" for step in each.steps) for each in self.perceptions)
        return round(rewrites / len(self.perceptions), 3)


@dataclass(frozen=True)
class ClipsReport:
    """All depths over the same n clips, and by the depth's name the similarities of clips and their m labels, (n, m).

    `refused` are the files that can't be read, with the reason: they are not among the clips.
    """

    clips: tuple[LabelledClip, ...]
    labels: tuple[str, ...]
    depths: tuple[Depth, ...]
    similarities: dict[str, Vector]
    decoder_peak_mb: float
    refused: dict[str, str]

    def figures(self) -> dict[str, object]:
        """Return what was measured, by depth, and the most memory that a decoder took."""
        by_depth: dict[str, object] = {
            depth.name: {
                "recall_at_1": depth.retrieval.recall(1),
                "recall_at_5": depth.retrieval.recall(5),
                "mean_rank": depth.retrieval.mean_rank(),
                "centred_recall_at_1": depth.retrieval.recall(1, centred=True),
                "centred_recall_at_5": depth.retrieval.recall(5, centred=True),
                "spared": depth.spared(),
                "rewritten": depth.rewritten(),
                "took_ms": [round(value) for value in depth.took_ms],
            }
            for depth in self.depths
        }
        return by_depth | {"decoder_peak_mb": self.decoder_peak_mb, "refused": self.refused}


def labelled(folder: Path) -> list[LabelledClip]:
    """Return the folder's clips. Raises NoClips."""
    table = folder / "clips.csv"
    if not table.is_file():
        raise NoClips(f"expected {table} with the columns file and label, got nothing of that name")
    # Spreadsheets begin a file with a mark of its encoding.
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"file", "label"} <= rows[0].keys():
        raise NoClips(f"{table}: expected rows with the columns file and label, got {', '.join(rows[0]) if rows else 'none'}")
    clips = [LabelledClip(folder / (row["file"] or "").strip(), (row["label"] or "").strip()) for row in rows]
    if missing := [clip.path.name for clip in clips if not clip.path.is_file()]:
        raise NoClips(f"{table}: expected every file beside it, {', '.join(missing[:5])} is missing")
    if unnamed := [clip.path.name for clip in clips if not clip.label]:
        raise NoClips(f"{table}: expected a label for every file, {', '.join(unnamed[:5])} has none")
    return clips


def evaluate(
    clips: Sequence[LabelledClip],
    encoder: Encoder,
    understanding: Understanding,
    media: MediaSettings,
    *,
    depths: Sequence[str] = tuple(DEPTHS),
    steps: StepSettings | None = None,
    rewrite_within_s: float = 8.0,
    done: Callable[[], None] = lambda: None,
) -> ClipsReport:
    """Perceive every clip at every one of `depths`, names of DEPTHS; `done` is called after each.

    Raises:
        NoClips: none of the files can be read.
        PerceptionUnavailable: the encoders can't be reached.
    """
    # On a busy machine Triton takes a model that was not heard for a second for dead, and starts it again.
    patiently = stamina.RetryingCaller(attempts=5, timeout=120, wait_initial=1.0, wait_max=10.0).on(PerceptionUnavailable)
    clips, refused, peak_mb = _readable(clips, PerceptionAgent(encoder, understanding, media))
    labels = list(dict.fromkeys(clip.label for clip in clips))
    wanted, own = encoder.texts(labels), [labels.index(clip.label) for clip in clips]
    reached, similarities = [], {}
    for name in depths:
        deepest, spares = DEPTHS[name]
        agent = PerceptionAgent(
            encoder, understanding, media, steps=steps, rewrite_within_s=rewrite_within_s, deepest=deepest, spares=spares
        )
        perceptions, took_ms = [], []
        for at, clip in enumerate(clips):
            began = time.perf_counter()
            perceptions.append(patiently(agent.frames, untitled(clip, at)))
            took_ms.append((time.perf_counter() - began) * 1000)
            done()
        similarities[name] = np.array([unpack_vector(each.embedding) for each in perceptions]) @ wanted.T
        reached.append(Depth(name, tuple(perceptions), tuple(took_ms), retrieval(similarities[name], own)))
    return ClipsReport(tuple(clips), tuple(labels), tuple(reached), similarities, peak_mb, refused)


def _readable(clips: Sequence[LabelledClip], agent: PerceptionAgent) -> tuple[list[LabelledClip], dict[str, str], float]:
    """Return the clips that can be read, why the others can't, and the most memory that reading one took."""
    readable, refused, peak_mb = [], {}, 0.0
    for at, clip in enumerate(clips):
        try:
            peak_mb = max(peak_mb, agent.sample(untitled(clip, at)).decoder_mb)
        except BadMedia as error:
            refused[clip.path.name] = str(error)
        else:
            readable.append(clip)
    if not readable:
        raise NoClips(f"expected clips that can be read, got {refused}")
    return readable, refused, peak_mb


def retrieval(similarity: Vector, own: Sequence[int]) -> Retrieval:
    """Return how n rows find their `own` of m columns, by similarities (n, m)."""
    return Retrieval(_ranks(similarity, own), _ranks(similarity - similarity.mean(axis=0), own))


def _ranks(similarity: Vector, own: Sequence[int]) -> tuple[int, ...]:
    right = similarity[np.arange(len(similarity)), list(own)][:, None]
    # One that is as near as the right one counts before it: a perception that says nothing finds nothing.
    return tuple(int(rank) for rank in (similarity >= right).sum(axis=1))


def untitled(clip: LabelledClip, at: int) -> Upload:
    """Return an upload of a clip that says nothing of it."""
    uri = clip.path.resolve().as_uri()
    return Upload(event_id=f"clip-{at}", video_id=f"clip-{at}", author_id="evaluation", title="", uploaded_at=0, media_uri=uri)
