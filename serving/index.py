"""The vector index: which rows of the catalogue are nearest to a vector, among 100,000 in a fraction of a millisecond."""

import threading
from typing import Literal

import numpy as np

# Before usearch: loaded after it, pyarrow takes the C++ library that usearch carries for its own, and the process aborts.
import pyarrow  # noqa: F401
from numpy.typing import NDArray
from usearch.index import Index, Matches

from serving.columns import Rows
from serving.settings import FeedSettings
from streams.state.interests import DIMENSIONS

# A search waits while vectors are added. Small batches keep that wait at a few milliseconds; a large one is a start or a
# replay, where twice the speed of adding counts for more.
_CHUNK, _BULK_CHUNK, _BULK = 64, 1000, 200


class VectorIndex:
    """An HNSW graph over catalogue rows, by cosine in int8 unless told otherwise: scores are made exact later, by the vectors.

    One lock serves adds and searches: the graph tolerates neither a search while it grows nor two removals at once.
    """

    def __init__(
        self,
        settings: FeedSettings,
        *,
        dimensions: int = DIMENSIONS,
        metric: Literal["cos", "ip"] = "cos",
        dtype: Literal["i8", "f16"] = "i8",
    ) -> None:
        """`metric` "ip" finds the largest dot products, which lengths count for: int8 would lose those."""
        self._lock = threading.Lock()
        self._index = Index(
            ndim=dimensions,
            metric=metric,
            dtype=dtype,
            connectivity=settings.index_connectivity,
            expansion_add=settings.index_expansion_add,
            expansion_search=settings.index_expansion_search,
        )

    def __len__(self) -> int:
        return len(self._index)

    def add(self, rows: Rows, vectors: NDArray[np.floating]) -> None:
        """Add `vectors`, shape (n, d), under `rows`, none of which may be in the index."""
        chunk = _BULK_CHUNK if len(rows) >= _BULK else _CHUNK
        for start in range(0, len(rows), chunk):
            part = slice(start, start + chunk)
            with self._lock:
                self._index.add(rows[part].astype(np.uint64), vectors[part], threads=0 if chunk == _BULK_CHUNK else 1)

    def remove(self, rows: Rows) -> None:
        """Take `rows` out."""
        if len(rows):
            with self._lock:
                self._index.remove(rows.astype(np.uint64))

    def nearest(self, vectors: NDArray[np.float32], count: int) -> Rows:
        """Return the rows nearest to each of `vectors`, shape (n, d): `count` each at most, each row once, unordered."""
        if len(vectors) == 0 or len(self._index) == 0:
            return np.empty(0, dtype=np.int64)
        with self._lock:
            matches = self._index.search(vectors, count, threads=1)
        if isinstance(matches, Matches):
            return np.asarray(matches.keys, dtype=np.int64)
        found = [keys[:n] for keys, n in zip(matches.keys, matches.counts, strict=True)]
        return np.unique(np.concatenate(found)).astype(np.int64)
