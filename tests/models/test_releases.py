"""What learned ships whole, and what is not as it was written does not serve."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from models.learning.releases import KEPT, MANIFEST, BadRelease, digests, on_disk, opened, same_files, versions, write
from tests.models.test_record import room_for

FILES = {"model.onnx": b"a graph", "towers.json": b"{}"}


def test_a_release_is_opened_as_it_was_written(tmp_path: Path) -> None:
    release = write(tmp_path, "towers", FILES, figures={"hr": 0.1}, at=1_000)
    folder = opened(release)
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert release.gate == {"hr": 0.1}
    assert release.version.startswith("19700101T000001-")


def test_the_same_files_have_the_same_digest_and_others_another(tmp_path: Path) -> None:
    one = write(tmp_path, "towers", FILES, figures={}, at=1_000)
    assert write(tmp_path, "towers", dict(reversed(FILES.items())), figures={"x": 1.0}, at=2_000).sha256 == one.sha256
    assert write(tmp_path, "towers", FILES | {"more": b""}, figures={}, at=3_000).sha256 != one.sha256


@pytest.mark.parametrize("damage", ["truncated", "gone", "another", "manifest", "no manifest", "form", "lies"])
def test_what_is_not_as_it_was_written_is_refused_and_the_error_says_where(tmp_path: Path, damage: str) -> None:
    release = write(tmp_path, "towers", FILES, figures={}, at=1_000)
    folder = opened(release)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    match damage:
        case "truncated":
            (folder / "model.onnx").write_bytes(b"a gr")
        case "gone":
            (folder / "model.onnx").unlink()
        case "another":
            (folder / "towers.json").write_bytes(b"[]")
        case "manifest":
            (folder / MANIFEST).write_bytes(b"{")
        case "no manifest":
            (folder / MANIFEST).unlink()
        case "form":
            (folder / MANIFEST).write_text(json.dumps(manifest | {"format": 99}))
        case "lies":
            # Whoever can write the folder can write its manifest, but not the event.
            (folder / "model.onnx").write_bytes(b"another graph")
            changed = write(tmp_path, "other", FILES | {"model.onnx": b"another graph"}, figures={}, at=1_000)
            (folder / MANIFEST).write_bytes((opened(changed) / MANIFEST).read_bytes())
    with pytest.raises(BadRelease, match=str(folder)):
        opened(release)


def test_a_release_elsewhere_than_in_a_folder_is_refused(tmp_path: Path) -> None:
    release = write(tmp_path, "towers", FILES, figures={}, at=1_000)
    with pytest.raises(BadRelease, match="expected a file: URI"):
        opened(replace(release, uri="https://models.example.com/towers"))


def test_a_manifest_can_not_name_files_outside_of_its_folder(tmp_path: Path) -> None:
    release = write(tmp_path, "towers", FILES, figures={}, at=1_000)
    (tmp_path / "outside").write_bytes(b"secret")
    folder = opened(release)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"files": {"../../outside": "0"}}))
    with pytest.raises(BadRelease):
        opened(release)


def test_a_disk_that_takes_no_more_leaves_nothing_behind(tmp_path: Path) -> None:
    tmp_path.joinpath("towers").write_bytes(b"a file where the folder should be")
    with pytest.raises(OSError, match="towers"):
        write(tmp_path, "towers", FILES, figures={}, at=1_000)
    assert [path.name for path in tmp_path.iterdir()] == ["towers"]


def test_a_disk_that_is_full_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    first = write(tmp_path, "towers", FILES, figures={}, at=1_000)
    with room_for(1_000), pytest.raises(OSError, match="File too large"):
        write(tmp_path, "towers", FILES | {"weights": bytes(5_000)}, figures={}, at=2_000)
    assert list((tmp_path / "towers").iterdir()) == [opened(first)]


def test_the_newest_releases_stay_on_disk(tmp_path: Path) -> None:
    released = [write(tmp_path, "towers", {"n": str(at).encode()}, figures={}, at=at * 1_000) for at in range(KEPT + 2)]
    assert opened(released[-1]).exists()
    assert len(list((tmp_path / "towers").iterdir())) == KEPT
    with pytest.raises(BadRelease):
        opened(released[0])


def test_what_serves_stays_on_disk_however_old_it_is(tmp_path: Path) -> None:
    serving = write(tmp_path, "towers", FILES, figures={}, at=1_000)
    for at in range(2, KEPT + 4):
        write(tmp_path, "towers", {"n": str(at).encode()}, figures={}, at=at * 1_000, kept={serving.version})
    assert opened(serving).exists()
    assert len(versions(tmp_path, "towers")) == KEPT + 1


def test_what_is_on_disk_is_told_of_again_as_it_was_released(tmp_path: Path) -> None:
    assert versions(tmp_path / "none", "towers") == []
    first = write(tmp_path, "towers", FILES, figures={"hr": 0.1}, at=1_000)
    towers = write(tmp_path, "towers", FILES | {"more": b""}, figures={"hr": 0.2}, at=5_000)
    assert versions(tmp_path, "towers") == [first.version, towers.version]
    assert on_disk(tmp_path, "towers", towers.version) == towers
    assert set(digests(tmp_path, "towers", towers.version)) == {*FILES, "more"}
    (opened(towers) / MANIFEST).write_text("{")
    assert on_disk(tmp_path, "towers", towers.version) is None
    with pytest.raises(BadRelease, match="expected a release's manifest"):
        digests(tmp_path, "towers", towers.version)


def test_the_same_files_are_known_by_their_version(tmp_path: Path) -> None:
    version = write(tmp_path, "towers", FILES, figures={}, at=1_000).version
    assert same_files(dict(reversed(FILES.items())), version)
    assert not same_files(FILES | {"more": b""}, version)
