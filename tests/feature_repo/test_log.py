"""The feature log on a disk that takes nothing: rows wait, up to a bound, and are written once it does."""

import errno
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from feature_repo import log as feature_log
from feature_repo.log import FeatureLog
from feature_repo.settings import FeatureStoreSettings
from streams.features import VideoEngagement

NOW = 1_790_000_000_000


def row(number: int) -> VideoEngagement:
    counts = dict.fromkeys((name for name in VideoEngagement.__struct_fields__ if name not in ("video_id", "as_of")), 1)
    return VideoEngagement(video_id=f"v{number}", as_of=NOW, **counts)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """A disk that can be full."""
    state, write = {"full": True}, pq.write_table

    def try_to_write(*arguments: Any, **options: Any) -> None:
        if state["full"]:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*arguments, **options)

    monkeypatch.setattr(pq, "write_table", try_to_write)
    return state


def logged(folder: Path) -> int:
    return ds.dataset(folder / "video_engagement", format="parquet").count_rows() if folder.exists() else 0


def test_rows_wait_for_room_on_the_disk(tmp_path: Path, disk: dict[str, bool]) -> None:
    log = FeatureLog(FeatureStoreSettings(log=str(tmp_path / "log"), log_every_s=0, log_flush_s=3600))
    log.add([row(1), row(2)])
    with pytest.raises(OSError, match="No space left"):
        log.flush()
    log.add([row(3)])
    disk["full"] = False
    log.close()
    assert logged(tmp_path / "log") == 3


def test_no_more_rows_wait_than_memory_is_for(tmp_path: Path, disk: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_log, "ROWS_KEPT", 2)
    log = FeatureLog(FeatureStoreSettings(log=str(tmp_path / "log"), log_every_s=0, log_flush_s=3600))
    log.add([row(number) for number in range(5)])
    with pytest.raises(OSError, match="No space left"):
        log.flush()
    disk["full"] = False
    log.close()
    assert logged(tmp_path / "log") == 2
