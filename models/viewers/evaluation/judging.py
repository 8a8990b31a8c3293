"""Deciders side by side: asked the same questions, judged by what the viewers did, each figure with its interval over viewers.

1 of 4 and 1 of 5: the video that was watched next, among hard negatives. Yes or no: the wanted video and one other, each asked
about alone. What got no answer, or one that can't be parsed, is wrong.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ranking.evaluation.drawn_again import Floats, drawn_again, middle
from models.retrieval.log import Rows
from models.viewers.evaluation.deciders import NONE, Decider
from models.viewers.questions import Question

CANDIDATES = (4, 5)
# Questions that are put to a decider together: more, and a server has forgotten a viewer's words when they are wanted again.
TOGETHER = 64
THRESHOLD = 0.5
CHANCE = "chance"
# By how many videos are known of a viewer, and whether the wanted one was new: (name, least known, most known).
SEGMENTS = (("known 0-5", 0, 5), ("known 6-10", 6, 10), ("known 11-20", 11, 20), ("known 21+", 21, 1 << 62))
ALL, COLD_VIDEO = "all", "cold video"

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Figure:
    """A figure, and between which values it lies at 95 %."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Whose:
    """Whose n questions are, as numbers; how many videos were `known` of each viewer; and which wanted ones are `cold`."""

    viewers: Rows
    known: Rows
    cold: Bools

    @staticmethod
    def of(questions: Sequence[Question]) -> "Whose":
        """Return whose these are."""
        _, viewers = np.unique([question.user_id for question in questions], return_inverse=True)
        known = np.array([question.known for question in questions], np.int64)
        return Whose(viewers, known, np.array([question.cold for question in questions], np.bool_))

    def segments(self) -> dict[str, Bools]:
        """Return which questions are in each segment."""
        by_known = {name: (self.known >= least) & (self.known <= most) for name, least, most in SEGMENTS}
        return {ALL: np.ones(len(self.known), np.bool_), **by_known, COLD_VIDEO: self.cold}


@dataclass(frozen=True)
class Judged:
    """What a decider did with n questions.

    `right` says by the number of candidates how right each choice was, (n,): 1 or 0, or what chance would get. `likes` are the
    probabilities of the wanted and another video, (n, 2), NaN for none; `decided` is the share of the questions' parts that
    got a decision, (n,). Beside .5, a video is liked from `threshold` on.
    """

    name: str
    whose: Whose
    right: Mapping[int, Floats]
    likes: Floats
    decided: Floats
    took_s: float = 0.0
    threshold: float = THRESHOLD

    def parts(self) -> dict[str, tuple[Floats, Floats]]:
        """Return each figure as what every question adds to one sum and to another, (n,) each, of which it is the quotient."""
        ones = np.ones(len(self.likes))
        choices = {f"one_of_{candidates}": (right, ones) for candidates, right in self.right.items()}
        return {
            **choices,
            **_yes_no("yes_no", self.likes, THRESHOLD),
            **_yes_no("yes_no_tuned", self.likes, self.threshold),
            "wanted_likelier": (likelier(self.likes), ones),
            "decided": (self.decided, ones),
        }

    def figures(self, among: Bools | None = None, *, seed: int = 0) -> dict[str, Figure]:
        """Return all figures, of the questions `among` all, with intervals by drawing viewers again."""
        return _figures(self.parts(), None, self.whose.viewers, among, seed)

    def over(self, other: "Judged", among: Bools | None = None, *, seed: int = 0) -> dict[str, Figure]:
        """Return by how much each figure is above another's of the same questions, with intervals over the same viewers."""
        return _figures(self.parts(), other.parts(), self.whose.viewers, among, seed)


def evaluate(
    questions: Sequence[Question],
    deciders: Sequence[Decider],
    *,
    candidates: Sequence[int] = CANDIDATES,
    thresholds: Mapping[str, float] | None = None,
    told: Callable[[Judged], None] = lambda judged: None,
) -> list[Judged]:
    """Put all questions to each decider: which of so many `candidates`, and which of two videos is liked.

    `thresholds` are by decider from which probability on a video is liked, beside .5; `told` hears of each that is done.
    """
    judged, whose = [], Whose.of(questions)
    for decider in deciders:
        began = time.perf_counter()
        right: dict[int, list[Floats]] = {many: [] for many in candidates}
        likes, decided = [np.empty((0, 2))], [np.empty(0)]
        for start in range(0, len(questions), TOGETHER):
            some = questions[start : start + TOGETHER]
            none = np.zeros(len(some))
            for many in candidates:
                cut = [question.cut(many) for question in some]
                chosen = decider.choose(cut)
                right[many].append((chosen == [question.wanted for question in cut]).astype(np.float64))
                none += chosen == NONE
            likes.append(decider.likes(some))
            none += np.isnan(likes[-1]).sum(axis=1)
            decided.append(1.0 - none / (len(candidates) + 2))
        each = Judged(
            name=decider.name,
            whose=whose,
            right={many: np.concatenate([np.empty(0), *rows]) for many, rows in right.items()},
            likes=np.concatenate(likes),
            decided=np.concatenate(decided),
            took_s=time.perf_counter() - began,
            threshold=(thresholds or {}).get(decider.name, THRESHOLD),
        )
        told(each)
        judged.append(each)
    return judged


def chance(questions: Sequence[Question], *, candidates: Sequence[int] = CANDIDATES) -> Judged:
    """Return what choosing evenly, and answering yes half of the time, gets on average."""
    n = len(questions)
    right = {many: np.array([1.0 / len(question.cut(many).videos) for question in questions]) for many in candidates}
    likes = np.full((n, 2), THRESHOLD)
    return Judged(name=CHANCE, whose=Whose.of(questions), right=right, likes=likes, decided=np.ones(n))


def thresholds_of(questions: Sequence[Question], deciders: Sequence[Decider]) -> dict[str, float]:
    """Return by decider from which probability on yes is most often right of these questions, to learn from."""
    return {decider.name: threshold_of(decider.likes(questions)) for decider in deciders}


def likelier(likes: Floats) -> Floats:
    """Return for each pair 1 where the wanted video is the likelier one, half where both are alike, 0 where one is missing."""
    wanted, other = likes.T
    return np.where(np.isnan(likes).any(axis=1), 0.0, (wanted > other) + 0.5 * (wanted == other))


def threshold_of(likes: Floats) -> float:
    """Return from which probability on yes is most often right for pairs to learn from, (n, 2); .5 where it is as good."""
    known = np.unique(likes[~np.isnan(likes)])
    tried = np.concatenate([[THRESHOLD], (known[1:] + known[:-1]) / 2])
    # Of equally good ones the first.
    return float(tried[int(np.argmax([(_said(likes, at) @ [1.0, -1.0]).sum() for at in tried]))])


def _said(likes: Floats, threshold: float) -> Floats:
    """Return how far each of the pair was said to be liked, (n, 2): 1 or 0, half at the threshold; wrong where nothing came."""
    said = (likes > threshold) + 0.5 * (likes == threshold)
    return np.where(np.isnan(likes), [[0.0, 1.0]], said)


def _yes_no(name: str, likes: Floats, threshold: float) -> dict[str, tuple[Floats, Floats]]:
    """Return accuracy and F1 of yes: 2 hits over twice the hits, false alarms and misses."""
    hits, alarms = _said(likes, threshold).T
    right = (hits + 1.0 - alarms) / 2.0
    return {name: (right, np.ones(len(likes))), f"{name}_f1": (2 * hits, hits + alarms + 1.0)}


def _figures(
    ours: Mapping[str, tuple[Floats, Floats]],
    theirs: Mapping[str, tuple[Floats, Floats]] | None,
    viewers: Rows,
    among: Bools | None,
    seed: int,
) -> dict[str, Figure]:
    among = np.ones(len(viewers), np.bool_) if among is None else among
    if not among.any():
        return {}
    columns = [column for parts in (ours, theirs) if parts is not None for name in ours for column in parts[name]]
    _, rows = np.unique(viewers[among], return_inverse=True)
    by_viewer = np.stack([np.bincount(rows, column[among]) for column in columns], axis=1).astype(np.float64)
    of_all, drawn = (_quotients(each, len(ours)) for each in (by_viewer.sum(axis=0)[None], drawn_again(by_viewer, seed=seed)))
    return {name: Figure(float(of_all[0, at]), *middle(drawn[:, at])) for at, name in enumerate(ours)}


def _quotients(sums: Floats, figures: int) -> Floats:
    """Return the figures of sums, (draws, 2 figures); or, of twice as many sums, those of the first less the others."""
    quotients: Floats = sums[:, ::2] / np.maximum(sums[:, 1::2], 1e-12)
    return quotients if quotients.shape[1] == figures else quotients[:, :figures] - quotients[:, figures:]
