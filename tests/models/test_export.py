import subprocess
import sys
from pathlib import Path

import pytest

from models import export
from models.export import frames, objects


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A folder that looks as an export leaves it."""
    for file in export.FILES:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    export.write_manifest(tmp_path)
    return tmp_path


def test_what_is_up_to_date_is_left_alone_without_torch(exported: Path) -> None:
    program = "import sys, pathlib, models.export as e; print(e.export(pathlib.Path(sys.argv[1])), 'torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program, str(exported)], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


def test_a_missing_file_or_another_recipe_is_not_up_to_date(exported: Path) -> None:
    assert export.is_current(exported)
    manifest = (exported / "manifest.json").read_text()
    (exported / "manifest.json").write_text(manifest.replace("torch", "torch-of-old"))
    assert not export.is_current(exported)
    (exported / "manifest.json").write_text(manifest)
    (exported / export.FILES[0]).unlink()
    assert not export.is_current(exported)


def test_the_classes_are_imagenets_in_order() -> None:
    names = frames.class_names()
    assert len(names) == 1000
    assert names[0][0] == "tench"
    assert names[-1][0] == "toilet tissue"


def test_the_things_are_cocos_in_order_as_people_call_them() -> None:
    names = [name for (name,) in objects.class_names()]
    assert len(names) == 80
    assert (names[0], names[4], names[-1]) == ("person", "airplane", "toothbrush")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.weights").write_bytes(bytes(20 + 4 * 1000))
    with pytest.raises(export.ExportFailed, match="expected 8858734 weights of YOLOv3-tiny with 80 classes, got 1000"):
        objects.load_darknet(objects.Detector(), tmp_path / "other.weights")
