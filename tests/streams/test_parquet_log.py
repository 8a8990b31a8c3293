"""Logs on disk: readable at any time, by day, and without those who were erased."""

import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from msgspec import structs

from streams.events import Feedback, Outcome
from streams.flows.feature_io import Forget
from streams.flows.feedback_log import SEALED_MS, FeedbackLog, File, LogLogic
from tests.streams.world import NOW


def feedback(request_id: str, user_id: str, *, served_at: int = NOW) -> Feedback:
    items = tuple(
        Outcome(
            video_id=f"v{n}", position=n, propensity=0.5, source="fresh", actions=("like",), watch_ms=1, reward=0.5,
            parts={"like": 0.5}, rivals={"v9": 0.25},
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
    assert dict(written[0]["rivals"]) == {"v9": 0.25}  # type: ignore[call-overload]


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


def test_a_file_is_written_only_once_a_snapshot_holds_it_under_its_name(tmp_path: Path) -> None:
    log, now = FeedbackLog(tmp_path), [NOW]
    logic = LogLogic(None, log, 1_000, lambda: now[0])
    assert logic.on_batch([feedback("r1", "ann")])[0] == []
    now[0] += 1_000
    assert logic.on_notify()[0] == []
    now[0] += SEALED_MS
    assert logic.on_notify()[0] == []
    snapshot = logic.snapshot()
    [file] = logic.on_notify()[0]
    # A crash after the file was written, and before a snapshot without it: the same pages come under the same name.
    [again] = LogLogic(snapshot, log, 1_000, lambda: now[0]).on_notify()[0]
    for each in (file, again):
        assert isinstance(each, File)
        log.add(each.pages, name=each.name)
    assert [row["request_id"] for row in rows(tmp_path)] == ["r1", "r1"]
    assert [row["position"] for row in rows(tmp_path)] == [0, 1]


def test_pages_of_an_erased_viewer_that_wait_for_a_file_are_never_written(tmp_path: Path) -> None:
    log, now = FeedbackLog(tmp_path), [NOW]
    logic = LogLogic(None, log, 1_000, lambda: now[0])
    logic.on_batch([feedback("r1", "ann"), feedback("r2", "bob")])
    [forget] = logic.on_batch([Forget("e", "user", "ann", dict)])[0]
    assert isinstance(forget, Forget)
    assert forget.purge() == {"feedback log": 2}
    now[0] += 1_000
    logic.on_notify()
    logic.snapshot()
    now[0] += SEALED_MS
    [file] = logic.on_notify()[0]
    assert isinstance(file, File)
    assert [made.user_id for made in file.pages] == ["bob"]


def test_the_files_of_a_past_day_become_one_with_the_same_rows(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    for number in range(5):
        log.add([feedback(f"r{number}", "ann" if number % 2 else "bob")])
    [day] = tmp_path.glob("day=*")
    before = sorted(rows(tmp_path), key=repr)
    assert log.merge(before=day.name.removeprefix("day=")) == 0
    assert log.merge(before="9999-01-01") == 4
    assert len(list(day.iterdir())) == 1
    assert sorted(rows(tmp_path), key=repr) == before
    assert log.merge(before="9999-01-01") == 0
    assert log.erase("user_id", "ann") == 4


def test_what_a_crash_left_of_a_merge_goes_with_the_next(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    log.add([feedback("r1", "ann")], name="one")
    log.add([feedback("r2", "ann")], name="two")
    [day] = tmp_path.glob("day=*")
    left = (day / "part-two.parquet").read_bytes()
    log.merge(before="9999-01-01")
    (day / "part-two.parquet").write_bytes(left)
    log.merge(before="9999-01-01")
    assert [row["request_id"] for row in rows(tmp_path)] == ["r1", "r1", "r2", "r2"]


def test_a_file_that_can_not_be_read_is_set_aside_and_holds_up_nothing(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    log.add([feedback("r1", "ann")])
    log.add([feedback("r2", "bob")])
    (torn,) = (path for path in tmp_path.glob("day=*/*.parquet") if "ann" in str(ds.dataset(path).to_table().to_pylist()))
    torn.write_bytes(b"")
    assert log.erase("user_id", "bob") == 2
    assert log.merge(before="9999-12-31") == 0
    assert [path.name for path in tmp_path.glob("day=*/unreadable-*")] == [f"unreadable-{torn.name}"]


def test_a_file_with_columns_of_another_kind_is_left_out_of_what_is_read_and_merged(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    log.add([feedback("r1", "ann")])
    (good,) = tmp_path.glob("day=*/part-*.parquet")
    read = pq.ParquetFile(good).read()
    place = read.schema.get_field_index("reward")
    pq.write_table(read.set_column(place, "reward", pa.array(["much", "more"])), good.with_name("part-poisoned.parquet"))
    assert log.read(["request_id", "reward"]).to_pylist() == [{"request_id": "r1", "reward": 0.5}] * 2
    good.with_name("part-second.parquet").write_bytes(good.read_bytes())
    log.merge(before="2100-01-01")
    assert [path.name for path in good.parent.glob("unreadable-*")] == ["unreadable-part-poisoned.parquet"]
    assert log.read().num_rows == 4


def test_a_file_with_columns_of_another_kind_keeps_nobody_in_the_log(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    log.add([feedback("r1", "42"), feedback("r2", "ann")])
    (good,) = tmp_path.glob("day=*/part-*.parquet")
    read = pq.ParquetFile(good).read()
    place = read.schema.get_field_index("user_id")
    pq.write_table(read.set_column(place, "user_id", pa.array([42, 42, 7, 7])), good.with_name("part-0-poisoned.parquet"))
    assert log.erase("user_id", "42") == 4
    assert {row["user_id"] for row in log.read(["user_id"]).to_pylist()} <= {"7", "ann"}


def test_where_nothing_can_be_read_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "day=2026-01-01").mkdir()
    (tmp_path / "day=2026-01-01" / "part-1.parquet").write_bytes(b"no rows")
    assert FeedbackLog(tmp_path).read().num_rows == 0


def test_rows_of_a_version_that_knew_fewer_columns_are_merged_with_the_others(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    log.add([feedback("r1", "ann")])
    (older,) = tmp_path.glob("day=*/*.parquet")
    pq.write_table(pq.ParquetFile(older).read().drop_columns(["reward"]), older)
    log.add([feedback("r2", "bob")])
    assert log.merge(before="9999-12-31") == 1
    assert sorted((row["request_id"], row["reward"]) for row in rows(tmp_path) if not row["position"]) == [
        ("r1", None),
        ("r2", 0.5),
    ]


def test_a_log_is_read_with_the_columns_of_now_whoever_wrote_it(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    assert log.read().num_rows == 0
    log.add([feedback("r1", "ann")], name="a")
    (older,) = tmp_path.glob("day=*/*.parquet")
    pq.write_table(pq.ParquetFile(older).read().drop_columns(["features", "features_version"]), older)
    page = feedback("r2", "bob")
    items = tuple(structs.replace(item, features=b"\x00\x3c") for item in page.items)
    log.add([structs.replace(page, items=items, features_version=1)], name="b")
    assert log.erase("user_id", "nobody") == 0
    assert sorted({(row["request_id"], row["features"], row["features_version"]) for row in log.read().to_pylist()}) == [
        ("r1", None, None),
        ("r2", b"\x00\x3c", 1),
    ]
    assert log.read(["features"]).column_names == ["features"]


def test_what_a_killed_process_had_begun_to_write_is_gone_with_the_next_erasure(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    log.add([feedback("r1", "ann")])
    (whole,) = tmp_path.glob("day=*/*.parquet")
    ended = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout.strip()
    begun = whole.with_name(f".{whole.name}.{ended}.tmp")
    begun.write_bytes(whole.read_bytes()[:100])
    log.erase("user_id", "ann")
    assert not begun.exists()
