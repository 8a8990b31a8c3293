"""The sound tagger: the speech, music and noise network of inaSpeechSegmenter (Doukhan et al. 2018), out of its Keras file."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models.export import ExportFailed, graph

# Windows of 10 ms, and bands of each.
PATCH, BANDS = 68, 21
EPSILON = 1e-3


class SoundTagger(torch.nn.Module):
    """Patches of log-mel energies (n, 68, 21), each of mean 0 and variance 1, to probabilities (n, 3): speech, music, noise."""

    def __init__(self) -> None:
        super().__init__()
        channels, sizes = (1, 64, 128, 128, 256), ((7, 4), (3, 3), (3, 3), (3, 3))
        self.convolutions = torch.nn.ModuleList(
            torch.nn.Conv2d(channels[at], channels[at + 1], size) for at, size in enumerate(sizes)
        )
        self.convolved = torch.nn.ModuleList(torch.nn.BatchNorm2d(width, eps=EPSILON) for width in channels[1:])
        self.layers = torch.nn.ModuleList(torch.nn.Linear(256, 256) for _ in range(4))
        self.layered = torch.nn.ModuleList(torch.nn.BatchNorm1d(256, eps=EPSILON) for _ in range(4))
        self.out = torch.nn.Linear(256, 3)

    def forward(self, patches: Any) -> Any:
        x = patches.unsqueeze(1)
        # Keras pads a pool at both sides, the later one more, with what never is the largest.
        pools = {0: ((0, 0, 1, 1), (4, 2)), 2: ((0, 1, 0, 0), (2, 2)), 3: ((0, 0, 0, 0), (4, 1))}
        for at, (convolution, normalisation) in enumerate(zip(self.convolutions, self.convolved, strict=True)):
            x = functional.relu(normalisation(convolution(x)))
            if at in pools:
                padding, size = pools[at]
                x = functional.max_pool2d(functional.pad(x, padding, value=-torch.inf), size)
        x = x.flatten(1)
        for layer, normalisation in zip(self.layers, self.layered, strict=True):
            x = functional.relu(normalisation(layer(x)))
        return self.out(x).softmax(-1)


def export(folder: Path) -> str:
    """Write the graph to `folder`; return how near to torch it is."""
    model = SoundTagger().eval()
    load_keras(model, _package() / "keras_speech_music_noise_cnn.hdf5")
    patches = np.random.default_rng(0).standard_normal((3, PATCH, BANDS), dtype=np.float32)
    graph.write(model, folder, {"patches": patches}, ["probabilities"], free={0: "batch"})
    return graph.proven(model, folder, {"patches": patches}, {"patches": patches[:1]})


def load_keras(model: SoundTagger, path: Path) -> None:
    """Fill `model` from a Keras file, layer by layer. Raises ExportFailed."""
    stored = _tensors(path)
    try:
        for convolution, normalisation in zip(model.convolutions, model.convolved, strict=True):
            _fill(convolution, next(stored), (3, 2, 0, 1))
            _normalise(normalisation, next(stored))
        for layer, normalisation in zip(model.layers, model.layered, strict=True):
            _fill(layer, next(stored), (1, 0))
            _normalise(normalisation, next(stored))
        _fill(model.out, next(stored), (1, 0))
    except (StopIteration, RuntimeError, ValueError) as error:
        raise ExportFailed(f"{path}: expected the layers of the speech, music and noise network: {error}") from error


def _tensors(path: Path) -> Iterator[list[NDArray[np.float32]]]:
    """Yield the tensors of each layer that has any."""
    with h5py.File(path) as file:
        layers = file.get("model_weights", file)
        for name in layers.attrs["layer_names"]:
            layer = layers[name]
            if len(names := layer.attrs["weight_names"]):
                yield [np.array(layer[tensor], np.float32) for tensor in names]


def _fill(module: Any, tensors: list[NDArray[np.float32]], axes: tuple[int, ...]) -> None:
    kernel, bias = tensors
    module.weight.data.copy_(torch.from_numpy(np.ascontiguousarray(kernel.transpose(axes))))
    module.bias.data.copy_(torch.from_numpy(bias))


def _normalise(module: Any, tensors: list[NDArray[np.float32]]) -> None:
    targets = (module.weight, module.bias, module.running_mean, module.running_var)
    for target, tensor in zip(targets, tensors, strict=True):
        target.data.copy_(torch.from_numpy(tensor))


def _package() -> Path:
    spec = find_spec("inaSpeechSegmenter")
    if spec is None or spec.origin is None:
        raise ExportFailed("expected the package inaSpeechSegmenter, which carries the network's weights: run `make setup`")
    return Path(spec.origin).parent
