"""Frames to how unsafe they look: Open-NSFW (Yahoo 2016, a thin ResNet-50) in ONNX Runtime, inside Triton's Python backend.

Input `frame` (n, 260, 260, 3) RGB bytes; output `unsafe` (n, 1), the probability that a frame is pornographic: Yahoo's advice
was that below 0.2 is safe and above 0.8 is not. It knows nothing of violence. `python -m models.export` makes the file,
$HEADWATER_MODELS_DIR/unsafe_scorer.
"""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

# The network's side, out of a frame of 260: it was trained on the middle 224 of 256.
SIDE, MARGIN = 224, 18
# Of its training pictures, blue first.
MEAN = np.array([104.0, 117.0, 123.0], np.float32)


class TritonPythonModel:
    def initialize(self, args):
        if int(np.__version__.split(".")[0]) >= 2:
            raise pb_utils.TritonModelException(
                f"expected numpy<2 in Triton's Python environment, got {np.__version__}: outputs would come back empty"
            )
        folder = Path(os.environ["HEADWATER_MODELS_DIR"]) / "unsafe_scorer"
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
        self.input = self.session.get_inputs()[0].name
        # The first pass allocates; better before the model is ready than in an upload's request.
        self.score(np.zeros((3, 260, 260, 3), np.uint8))

    def execute(self, requests):
        frames = [pb_utils.get_input_tensor_by_name(request, "frame").as_numpy() for request in requests]
        parts = np.split(self.score(np.concatenate(frames)), np.cumsum([len(part) for part in frames])[:-1])
        return [pb_utils.InferenceResponse([pb_utils.Tensor("unsafe", np.ascontiguousarray(part))]) for part in parts]

    def score(self, frames):
        """Return probabilities, float32 (n, 1)."""
        middle = frames[:, MARGIN : MARGIN + SIDE, MARGIN : MARGIN + SIDE, ::-1].astype(np.float32) - MEAN
        (scores,) = self.session.run(None, {self.input: middle})
        return scores[:, 1:2].astype(np.float32)
