"""Pictures to the things in them: YOLOv3-tiny in ONNX Runtime, inside Triton's Python backend.

Input `picture` (n, 640, 640, 3) RGB bytes, the whole of a frame on grey; outputs the ten surest of COCO's kinds: `object`,
`object_confidence` of the surest of its kind and `object_count`, how many there probably are, each (n, 10); and
`object_embedding` (n, 384): the kinds' names in the text encoder's space, less their common mean, weighted by confidence.
`python -m models.export` makes the files, $HEADWATER_MODELS_DIR/object_detector.
"""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

TOP = 10
KINDS = 80
# Sides of the three boxes that each cell proposes, in pixels of the network's 320 (the weights were trained at 416).
LARGE = np.array([[81, 82], [135, 169], [344, 319]], np.float32)
SMALL = np.array([[10, 14], [23, 27], [37, 58]], np.float32)
SIDE = 320
# Less sure boxes are noise: three of four below it are wrong.
SURE = 0.2
# Boxes of one kind that overlap by more are the same thing seen twice.
SAME = 0.45
MOST_BOXES = 200


class TritonPythonModel:
    def initialize(self, args):
        if int(np.__version__.split(".")[0]) >= 2:
            raise pb_utils.TritonModelException(
                f"expected numpy<2 in Triton's Python environment, got {np.__version__}: outputs would come back empty"
            )
        folder = Path(os.environ["HEADWATER_MODELS_DIR"]) / "object_detector"
        # Weights of this version alone, where there are any: an old and a new version then serve side by side.
        if (own := folder / args["model_version"]).is_dir():
            folder = own
        if not (folder / "model.onnx").is_file():
            raise pb_utils.TritonModelException(f"expected {folder}/model.onnx: run `python -m models.export`")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(json.loads(args["model_config"])["parameters"]["threads"]["string_value"])
        # Idle threads that spin take the cores of everything else on the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
        names = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
        self.labels = np.array([name.encode() for name in names], dtype=np.object_)
        self.class_embeddings = np.load(folder / "class_embeddings.npy")
        # The first pass allocates; better before the model is ready than in an upload's request.
        self.find(np.zeros((3, 640, 640, 3), np.uint8))

    def execute(self, requests):
        pictures = [pb_utils.get_input_tensor_by_name(request, "picture").as_numpy() for request in requests]
        bounds = np.cumsum([len(part) for part in pictures])[:-1]
        outputs = [np.split(output, bounds) for output in self.find(np.concatenate(pictures))]
        names = ("object", "object_confidence", "object_count", "object_embedding")
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor(name, np.ascontiguousarray(output)) for name, output in zip(names, parts, strict=True)]
            )
            for parts in zip(*outputs, strict=True)
        ]

    def find(self, pictures):
        """Return kinds (n, 10) bytes, confidences and counts float32 (n, 10) and embeddings float32 (n, 384)."""
        large, small = self.session.run(["large", "small"], {"frames": pictures})
        found = np.array([_things(*grids) for grids in zip(large, small, strict=True)], np.float32)
        confidences, counts = found[:, 0], found[:, 1]
        top = np.argsort(-confidences, axis=1)[:, :TOP]
        embeddings = (confidences @ self.class_embeddings).astype(np.float32)
        return (
            self.labels[top],
            np.take_along_axis(confidences, top, axis=1),
            np.take_along_axis(counts, top, axis=1),
            embeddings,
        )


def _things(large, small):
    """Return of each kind the surest box's confidence and the sum of all, (2, 80), from one picture's two grids."""
    boxes, kinds, scores = (np.concatenate(parts) for parts in zip(_boxes(large, LARGE), _boxes(small, SMALL), strict=True))
    surest, counts = np.zeros(KINDS), np.zeros(KINDS)
    kept = []
    # Comparing is quadratic: a picture made to look like everything must not hold the model for everybody.
    for at in np.argsort(-scores)[:MOST_BOXES]:
        if any(kinds[at] == kinds[other] and _overlap(boxes[at], boxes[other]) > SAME for other in kept):
            continue
        kept.append(at)
        surest[kinds[at]] = max(surest[kinds[at]], scores[at])
        counts[kinds[at]] += scores[at]
    return surest, counts


def _boxes(grid, sides):
    """Return what a grid (255, g, g) is sure of: boxes (m, 4) as centre and size in shares of the picture, kinds, scores."""
    cells = grid.shape[-1]
    raw = grid.reshape(3, 5 + KINDS, cells, cells)
    scores = _sigmoid(raw[:, 4:5]) * _sigmoid(raw[:, 5:])
    box, kind, row, column = np.nonzero(scores > SURE)
    x, y, w, h = (raw[box, of, row, column] for of in range(4))
    boxes = [
        (column + _sigmoid(x)) / cells,
        (row + _sigmoid(y)) / cells,
        np.exp(np.minimum(w, 8)) * sides[box, 0] / SIDE,
        np.exp(np.minimum(h, 8)) * sides[box, 1] / SIDE,
    ]
    return np.stack(boxes, axis=1), kind, scores[box, kind, row, column]


def _overlap(one, other):
    """Return the share that two boxes have in common of what they cover together."""
    low = np.maximum(one[:2] - one[2:] / 2, other[:2] - other[2:] / 2)
    high = np.minimum(one[:2] + one[2:] / 2, other[:2] + other[2:] / 2)
    common = np.prod(np.maximum(high - low, 0))
    return common / (np.prod(one[2:]) + np.prod(other[2:]) - common + 1e-9)


def _sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
