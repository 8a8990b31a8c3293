"""Real data becomes events: in order, with ids that stay, and with clear words where it can't."""

import json
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation import movielens
from simulation.datasets import BadDataset, event_id, open_dataset
from streams.codec import decode, encode
from streams.topics import INTERACTIONS, UPLOADS

VIDEOS = [
    {"video_id": 1, "title": "Duck soup # cooking # at home"},
    {"video_id": 2, "title": "A goal in the last minute"},
]
INTERACTED = [
    {"user_id": 7, "video_id": 2, "timestamp": 1_700_000_100},
    {"user_id": 8, "video_id": 1, "timestamp": 1_700_000_000},
]


def as_parquet(rows: list[dict[str, object]], path: Path) -> None:
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path.with_suffix(".parquet"))


def as_csv(rows: list[dict[str, object]], path: Path) -> None:
    pyarrow.csv.write_csv(pa.Table.from_pylist(rows), path.with_suffix(".csv"))


def as_json_lines(rows: list[dict[str, object]], path: Path) -> None:
    path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("write", [as_parquet, as_csv, as_json_lines])
def test_a_folder_is_read_in_order_of_time(tmp_path: Path, write: Callable[[list[dict[str, object]], Path], None]) -> None:
    write(VIDEOS, tmp_path / "videos")
    write(INTERACTED, tmp_path / "interactions")
    dataset = open_dataset(str(tmp_path))
    events = list(dataset.interactions())
    assert [(event.user_id, event.action, event.occurred_at) for event in events] == [
        (f"{tmp_path.name}-8", "complete", 1_700_000_000_000),
        (f"{tmp_path.name}-7", "complete", 1_700_000_100_000),
    ]
    assert dataset.count == 2
    assert {event.video_id for event in events} == {upload.video_id for upload in dataset.uploads}
    assert dataset.uploads[0].tags == ("cooking", "at home")
    assert any("complete" in note for note in dataset.notes)


@pytest.mark.parametrize("time", ["2023-11-14T22:13:20Z", "2023-11-14 22:13:20", 1_700_000_000, 1_700_000_000_000])
def test_times_are_seconds_or_milliseconds_or_words(tmp_path: Path, time: object) -> None:
    as_csv(VIDEOS, tmp_path / "videos")
    as_csv([{"user_id": 7, "video_id": 2, "occurred_at": time}], tmp_path / "interactions")
    (event,) = open_dataset(str(tmp_path)).interactions()
    assert event.occurred_at == 1_700_000_000_000


def test_actions_and_authors_are_taken_where_the_data_has_them(tmp_path: Path) -> None:
    as_parquet([row | {"author_id": "ann", "tags": ["a", "b"]} for row in VIDEOS], tmp_path / "videos")
    as_parquet([row | {"action": "skip", "watch_ms": 900} for row in INTERACTED], tmp_path / "interactions")
    dataset = open_dataset(str(tmp_path))
    assert {upload.author_id for upload in dataset.uploads} == {f"{tmp_path.name}-ann"}
    assert {(event.action, event.watch_ms) for event in dataset.interactions()} == {("skip", 900)}
    assert dataset.notes == ()


def test_a_missing_column_is_named_with_those_that_came(tmp_path: Path) -> None:
    as_csv([{"video": 1, "title": "x"}], tmp_path / "videos")
    as_csv(INTERACTED, tmp_path / "interactions")
    with pytest.raises(BadDataset, match="videos: missing column video_id; the file has video, title"):
        open_dataset(str(tmp_path))


def test_interactions_without_a_time_are_refused(tmp_path: Path) -> None:
    as_csv(VIDEOS, tmp_path / "videos")
    as_csv([{"user_id": 1, "video_id": 1}], tmp_path / "interactions")
    with pytest.raises(BadDataset, match="estimated_ts_ms or timestamp or occurred_at"):
        open_dataset(str(tmp_path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    as_csv(VIDEOS, tmp_path / "videos")
    with pytest.raises(BadDataset, match="expected one file interactions"):
        open_dataset(str(tmp_path))


def test_an_action_that_does_not_exist_names_its_row(tmp_path: Path) -> None:
    as_csv(VIDEOS, tmp_path / "videos")
    as_csv([row | {"action": "stare"} for row in INTERACTED], tmp_path / "interactions")
    with pytest.raises(BadDataset, match=r"user_id 8, video_id 1: Invalid enum value 'stare'"):
        list(open_dataset(str(tmp_path)).interactions())


def test_a_source_that_is_neither_a_name_nor_a_folder_is_refused() -> None:
    with pytest.raises(BadDataset, match="expected movielens-100k, or a folder"):
        open_dataset("movielens-25m")


def test_movielens_has_its_hundred_thousand_ratings() -> None:
    dataset = open_dataset(movielens.NAME)
    assert len(dataset.uploads) == 1682
    assert "100,000 ratings" in dataset.notes[0]
    known = {upload.video_id for upload in dataset.uploads}
    ids = set()
    for before, after in pairwise(dataset.interactions()):
        assert before.occurred_at <= after.occurred_at
        ids |= {before.event_id, after.event_id}
        assert after.video_id in known
    assert len(ids) == dataset.count
    toy_story = next(upload for upload in dataset.uploads if upload.title == "Toy Story (1995)")
    assert toy_story.tags == ("Animation", "Children's", "Comedy")
    assert toy_story.author_id == "movielens-100k-studio-animation-1990s"


def test_what_is_read_passes_the_edge() -> None:
    dataset = open_dataset(movielens.NAME)
    for upload in dataset.uploads:
        assert decode(UPLOADS, encode(upload)) == upload
    for event in islice(dataset.interactions(), 1000):
        assert decode(INTERACTIONS, encode(event)) == event


def test_more_stars_never_say_less() -> None:
    liking = ["not_interested", "skip", "progress", "complete", "like"]
    strongest = [
        max(liking.index(action) for action in actions if action in liking) for _, actions in sorted(movielens.MAPPING.items())
    ]
    assert strongest == sorted(strongest)
    assert all(actions[0] == "impression" for actions in movielens.MAPPING.values())


@given(st.text(max_size=300), st.text(), st.text(), st.integers(0, 2**45))
def test_an_event_keeps_its_id_and_it_fits(dataset: str, user: str, video: str, at: int) -> None:
    first = event_id(dataset, user, video, "like", at)
    assert first == event_id(dataset, user, video, "like", at)
    assert first != event_id(dataset, user, video, "skip", at)
    assert 1 <= len(first) <= 128
