"""What the user simulation agent is asked once what came of it is known: to learn from, and to be judged by.

A question is one moment of one viewer: candidates, of which the viewer watched one gladly and, as far as is known, no other so
gladly. It can be asked whole, which of them comes next, or one by one, whether each is liked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

import numpy as np


@dataclass(frozen=True)
class Question:
    """One viewer at one moment, n candidates, and what each was worth to the viewer.

    `viewer` and `videos` (n) are in words, `gains` (n) are rewards, of which `wanted`'s row is the highest. `known` is how many
    videos were known of the viewer, `at` the moment in Unix ms; `cold` says that the wanted video had few watches or none.
    `columns` has what else rewards are earned by, n values each, under the names that they know it by.
    """

    user_id: str
    viewer: str
    video_ids: tuple[str, ...]
    videos: tuple[str, ...]
    wanted: int
    gains: tuple[float, ...]
    at: int
    known: int
    cold: bool = False
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        n = len(self.videos)
        if not (len(self.video_ids) == len(self.gains) == n and 0 <= self.wanted < n):
            raise ValueError(
                f"expected {n} ids and gains and a wanted one of them, got {len(self.video_ids)}, {len(self.gains)} and "
                f"{self.wanted}"
            )

    def cut(self, candidates: int) -> "Question":
        """Return it with the wanted and so many others that there are `candidates`, in their order; of fewer it is a part.

        Which others is drawn by the question. With the first of them, in any order, the wanted would mostly be the last.
        """
        others = [row for row in range(len(self.videos)) if row != self.wanted]
        drawn = sorted(others, key=lambda row: crc32(f"{self.user_id}\0{self.at}\0{self.video_ids[row]}".encode()))
        return self._at(sorted([*drawn[: candidates - 1], self.wanted]))

    def shuffled(self, rng: np.random.Generator) -> "Question":
        """Return it with its candidates in any order, so that no place tells."""
        return self._at([int(row) for row in rng.permutation(len(self.videos))])

    def _at(self, rows: list[int]) -> "Question":
        def chosen(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(values[row] for row in rows)

        return replace(
            self,
            video_ids=chosen(self.video_ids),
            videos=chosen(self.videos),
            wanted=rows.index(self.wanted),
            gains=chosen(self.gains),
            columns={name: chosen(values) for name, values in self.columns.items()},
        )


@dataclass(frozen=True)
class Logged:
    """One place of a page as it was left to chance: of the question's n candidates, its wanted is what was shown.

    `shares` (n) are the probabilities of each, given that it was one of these, and `reward` is what came of it.
    """

    question: Question
    shares: tuple[float, ...]
    reward: float
