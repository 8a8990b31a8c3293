"""The words of titles, and of which videos they are: what an encoder trained elsewhere does not know of this platform."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse

_WORD = re.compile(r"\w+")
# A term of fewer titles says nothing of the next, one of half of them nothing at all.
LEAST = {"words": 3, "pairs": 5, "grams": 5}
GRAM = 4


@dataclass(frozen=True)
class Group:
    """The terms of one kind: its `name`, each term's column among the group's, and how rare each is."""

    name: str
    columns: dict[str, int]
    rarity: dict[str, float]


@dataclass(frozen=True)
class Terms:
    """The terms of titles, by groups: "words", "pairs" of words and "grams" of four letters, each weighed by tf-idf."""

    groups: tuple[Group, ...]

    @staticmethod
    def made_of(texts: Sequence[str], groups: Sequence[str]) -> "Terms":
        """Return the terms of the titles that are known; a new title's unknown terms count nothing."""
        return Terms(tuple(_group(texts, group) for group in groups))

    def __len__(self) -> int:
        return sum(len(group.columns) for group in self.groups)

    def of(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Return the weights of texts' terms, float32 (n, terms): each group of unit length, or nothing."""
        parts = [_weights(texts, _SPLIT[group.name], group.columns, group.rarity) for group in self.groups]
        return sparse.hstack(parts or [sparse.csr_matrix((len(texts), 0), dtype=np.float32)]).tocsr()


def _group(texts: Sequence[str], group: str) -> Group:
    seen = Counter(term for text in texts for term in set(_SPLIT[group](text)))
    kept = sorted(term for term, count in seen.items() if LEAST[group] <= count <= len(texts) / 2)
    rarity = {term: math.log(len(texts) / seen[term]) for term in kept}
    return Group(group, {term: at for at, term in enumerate(kept)}, rarity)


def _weights(
    texts: Sequence[str], split: Callable[[str], list[str]], columns: dict[str, int], rarity: dict[str, float]
) -> sparse.csr_matrix:
    values, indices, bounds = [], [], [0]
    for text in texts:
        counted = Counter(term for term in split(text) if term in columns)
        weights = {term: rarity[term] * (1 + math.log(count)) for term, count in counted.items()}
        length = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
        values += [weight / length for weight in weights.values()]
        indices += [columns[term] for term in weights]
        bounds.append(len(values))
    return sparse.csr_matrix((np.array(values, np.float32), indices, bounds), shape=(len(texts), len(columns)))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _pairs(text: str) -> list[str]:
    return [f"{one} {other}" for one, other in pairwise(_words(text))]


def _grams(text: str) -> list[str]:
    marked = [f"<{word}>" for word in _words(text)]
    return [gram for word in marked for gram in sorted({word[at : at + GRAM] for at in range(len(word) - GRAM + 1)})]


_SPLIT: dict[str, Callable[[str], list[str]]] = {"words": _words, "pairs": _pairs, "grams": _grams}
