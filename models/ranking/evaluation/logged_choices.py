"""What chance chose, from the feedback log: the video that won each place, who else could have, and what came of it.

All other places of a page go to the most valuable with propensity 1: it does not tell what another choice would have brought.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streams.flows.feedback_log import FeedbackLog

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
SOURCE = "exploration"
_COLUMNS = [
    "request_id", "user_id", "video_id", "position", "propensity", "reward", "rivals", "policy_version", "served_at",
]  # fmt: skip
# Propensities are sums of shares of draws: what is further from 1 lacks a contestant.
_WHOLE = 1e-6


class BadLog(ValueError):
    """No policy can be judged by this log. The message says what was expected and what was found."""


@dataclass(frozen=True)
class LoggedChoices:
    """n choices between m contestants in all.

    Of each choice its viewer, place of the page and reward, (n,). Its contestants are `starts[i]:starts[i + 1]` of `videos` and
    `propensities`, (m,), the first of them the one that was shown. `main` places were certain, and `incomplete` ones do not
    name all contestants: neither is among the n.
    """

    viewers: Ints
    positions: Ints
    rewards: Floats
    starts: Ints
    videos: Ints
    propensities: Floats
    main: int = 0
    incomplete: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    policies: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.viewers)

    @property
    def shown(self) -> Ints:
        """Return which of the m contestants were shown, (n,)."""
        return self.starts[:-1]

    @property
    def choice_of(self) -> Ints:
        """Return for each contestant the choice it is in, (m,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))


def read(folder: Path) -> LoggedChoices:
    """Return the choices in a feedback log.

    Raises:
        BadLog: there is no log, a propensity or a reward is none, or no choice names its contestants.
    """
    # Also what value put where chance might have put another: to leave it out would be to look at what came of it.
    explored = (pc.field("source") == SOURCE) | (pc.field("propensity") < 1.0) | pc.field("propensity").is_null()
    found = FeedbackLog(folder).look(
        lambda log: (log.count_rows(filter=~explored), log.to_table(columns=_COLUMNS, filter=explored))
    )
    if found is None:
        raise BadLog(f"{folder}: expected a feedback log (day=YYYY-MM-DD/part-….parquet, flows.feedback_log), found none")
    main, explored_places = found
    # A merge that was cut short leaves rows twice until the next one.
    places = _once(explored_places)
    _check(folder, places)
    choices, incomplete = _whole(places)
    if not choices.num_rows:
        raise BadLog(
            f"{folder}: expected places of exploration that name who else could have won them (rivals), got {main} other "
            f"places and {incomplete} without: only what was left to chance tells what another policy would have brought"
        )
    return _choices(choices, main=main, incomplete=incomplete)


def _once(table: pa.Table) -> pa.Table:
    numbered = table.append_column("row", pa.array(np.arange(table.num_rows)))
    first = numbered.group_by(["request_id", "position"]).aggregate([("row", "min")])["row_min"]
    return table.take(pa.array(np.sort(first.to_numpy())))


def _check(folder: Path, places: pa.Table) -> None:
    """Raise BadLog for the first number that is none."""
    propensities, rewards = _floats(places["propensity"]), _floats(places["reward"])
    for name, bad, expected in (
        ("propensity", ~((propensities > 0) & (propensities <= 1)), "above 0 and at most 1: by 0 nothing can be weighed"),
        ("reward", ~np.isfinite(rewards), "a number"),
    ):
        if bad.any():
            row = int(bad.argmax())
            request, position, value = (places[column][row].as_py() for column in ("request_id", "position", name))
            raise BadLog(
                f"{folder}: {int(bad.sum())} of {len(bad)} places of exploration have no {name} {expected}; "
                f"the first is place {position} of request {request}: {value}"
            )


def _whole(places: pa.Table) -> tuple[pa.Table, int]:
    """Return the places whose propensities add up to 1, and how many others there are."""
    _, of, propensities = _rivals(places)
    total = _floats(places["propensity"]) + np.bincount(of, propensities, minlength=places.num_rows)
    whole = np.abs(total - 1.0) < _WHOLE
    return places.filter(pa.array(whole)), int((~whole).sum())


def _choices(places: pa.Table, *, main: int, incomplete: int) -> LoggedChoices:
    names, of, propensities = _rivals(places)
    count = places.num_rows
    starts = np.concatenate([[0], np.cumsum(1 + np.bincount(of, minlength=count))])
    is_rival = np.ones(starts[-1], dtype=np.bool_)
    is_rival[starts[:-1]] = False
    codes = _codes(pa.concat_arrays([places["video_id"].combine_chunks(), names]))
    served = pc.min_max(places["served_at"]).as_py()
    return LoggedChoices(
        viewers=_codes(places["user_id"].combine_chunks()),
        positions=places["position"].to_numpy().astype(np.int64),
        rewards=_floats(places["reward"]),
        starts=starts,
        videos=_spread(is_rival, codes[:count], codes[count:]),
        propensities=_spread(is_rival, _floats(places["propensity"]), propensities),
        main=main,
        incomplete=incomplete,
        first_at=served["min"],
        last_at=served["max"],
        policies=tuple(sorted(filter(None, pc.unique(places["policy_version"]).to_pylist()))),
    )


def _rivals(places: pa.Table) -> tuple[pa.Array, Ints, Floats]:
    """Return the rivals' ids, the place each is of, and their propensities."""
    column = places["rivals"].combine_chunks()
    lengths = np.diff(column.offsets.to_numpy())
    first, last = column.offsets[0].as_py(), column.offsets[-1].as_py()
    inside = slice(first, last)
    return column.keys[inside], np.repeat(np.arange(len(lengths)), lengths), _floats(column.items[inside])


def _spread(is_rival: NDArray[np.bool_], shown: NDArray[Any], rivals: NDArray[Any]) -> NDArray[Any]:
    spread = np.empty(len(is_rival), shown.dtype)
    spread[~is_rival], spread[is_rival] = shown, rivals
    return spread


def _codes(names: pa.Array) -> Ints:
    codes: Ints = names.dictionary_encode().indices.to_numpy().astype(np.int64)
    return codes


def _floats(column: pa.ChunkedArray | pa.Array) -> Floats:
    """Return numbers, NaN where there is none."""
    numbers: Floats = column.to_numpy(zero_copy_only=False).astype(np.float64)
    return numbers
