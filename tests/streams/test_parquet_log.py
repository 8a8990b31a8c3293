"""Logs on disk: readable at any time, by day, and without those who were erased."""

from pathlib import Path

import pyarrow.dataset as ds

from streams.events import Feedback, Outcome
from streams.flows.feedback_log import FeedbackLog
from tests.streams.world import NOW


def feedback(request_id: str, user_id: str, *, served_at: int = NOW) -> Feedback:
    items = tuple(
        Outcome(
            video_id=f"v{n}", position=n, propensity=0.5, source="fresh", actions=("like",), watch_ms=1, reward=0.5,
            parts={"like": 0.5},
        )
        for n in range(2)
    )  # fmt: skip
    return Feedback(request_id=request_id, user_id=user_id, items=items, served_at=served_at, closed_at=served_at + 1)


def rows(folder: Path) -> list[dict[str, object]]:
    return ds.dataset(folder, partitioning="hive").to_table().to_pylist()


def test_a_page_is_a_row_a_place_in_the_folder_of_its_day(tmp_path: Path) -> None:
    FeedbackLog(tmp_path).add([feedback("r1", "ann"), feedback("r2", "bob", served_at=NOW + 86_400_000)])
    assert len(list(tmp_path.glob("day=*"))) == 2
    written = rows(tmp_path)
    assert [(row["request_id"], row["position"]) for row in written] == [("r1", 0), ("r1", 1), ("r2", 0), ("r2", 1)]
    assert dict(written[0]["parts"]) == {"like": 0.5}  # type: ignore[call-overload]


def test_an_erased_viewer_is_gone_from_every_file_and_others_stay(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    log.add([feedback("r1", "ann"), feedback("r2", "bob")])
    log.add([feedback("r3", "ann")])
    assert log.erase("user_id", "ann") == 4
    assert {row["user_id"] for row in rows(tmp_path)} == {"bob"}
    assert log.erase("user_id", "ann") == 0


def test_an_empty_log_can_be_read(tmp_path: Path) -> None:
    FeedbackLog(tmp_path / "new").ensure_readable()
    assert rows(tmp_path / "new") == []
