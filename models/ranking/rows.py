"""Rows of the feedback log as the ranker learns from them; what can't be learned from is left out and counted."""

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.ranking.features import VERSION, Matrix, unpack
from models.ranking.objectives import labels

Ints = NDArray[np.int64]
COLUMNS = (
    "request_id", "user_id", "position", "actions", "watch_ms", "parts", "features", "features_version", "served_at",
)  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """n places that were looked at: their features (n, f), where they stood, and what became of them."""

    features: Matrix
    positions: Ints
    values: Matrix
    known: NDArray[np.bool_]
    viewers: Ints
    served_at: Ints

    def __len__(self) -> int:
        return len(self.features)

    def of(self, chosen: NDArray[np.bool_] | Ints) -> "Rows":
        """Return the rows that `chosen` picks."""
        return Rows(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def and_then(self, later: "Rows") -> "Rows":
        """Return these rows and `later` ones, whose viewers are numbered alike."""
        return Rows(*(np.concatenate([getattr(each, field.name) for each in (self, later)]) for field in fields(self)))


@dataclass(frozen=True)
class LeftOut:
    """How many rows teach nothing: nobody looked, another version's features, or features that are broken."""

    not_seen: int
    other_version: int
    broken: int


def read(table: pa.Table) -> tuple[Rows, LeftOut]:
    """Return the rows of a feedback log that can be learned from, the oldest first, and how many can't.

    A place that no event tells of was not looked at: it is no evidence against what stood there.

    Raises:
        ValueError: a column that every feedback log has is missing.
    """
    missing = [name for name in COLUMNS if name not in table.column_names and not name.startswith("features")]
    if missing:
        raise ValueError(f"feedback log: expected the columns {', '.join(COLUMNS)}; there is no {', '.join(missing)}")
    total = table.num_rows
    if "features" not in table.column_names or "features_version" not in table.column_names:
        # A log of a version that logged no features.
        return _rows(table.slice(0, 0)), LeftOut(0, total, 0)
    seen = table.filter(pc.greater(pc.list_value_length(table["actions"]), 0))
    ours = seen.filter(pc.equal(seen["features_version"], VERSION))
    rows = _rows(ours.sort_by([("served_at", "ascending"), ("request_id", "ascending"), ("position", "ascending")]))
    return rows, LeftOut(total - seen.num_rows, seen.num_rows - ours.num_rows, ours.num_rows - len(rows))


def _rows(table: pa.Table) -> Rows:
    packed = table["features"].to_pylist() if "features" in table.column_names else []
    features, right = unpack(packed)
    table, features = table.filter(pa.array(right)) if len(right) else table, features[right]
    parts = [dict(each or ()) for each in table["parts"].to_pylist()]
    made = labels(table["actions"].to_pylist(), table["watch_ms"].fill_null(0).to_pylist(), parts, features)
    return Rows(
        features=features,
        positions=table["position"].to_numpy().astype(np.int64),
        values=made.values,
        known=made.known,
        viewers=np.unique(table["user_id"].to_pylist(), return_inverse=True)[1].astype(np.int64),
        served_at=table["served_at"].cast(pa.int64()).to_numpy(),
    )
