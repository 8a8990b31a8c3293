"""Frames to what they show: EfficientNet-Lite2 in ONNX Runtime, inside Triton's Python backend.

Input `frame` (n, 260, 260, 3) RGB bytes; outputs the ten likeliest ImageNet classes, `label` and `probability` (n, 10), and
`embedding` (n, 384): the classes' names in the text encoder's space, less their common mean, weighted by probability (ConSE,
Norouzi et al. 2014, section 3). It isn't of unit length: an unsure frame weighs less. `python -m models.export` makes the
files, $HEADWATER_MODELS_DIR/frame_encoder.
"""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

TOP = 10


class TritonPythonModel:
    def initialize(self, args):
        if int(np.__version__.split(".")[0]) >= 2:
            raise pb_utils.TritonModelException(
                f"expected numpy<2 in Triton's Python environment, got {np.__version__}: outputs would come back empty"
            )
        folder = Path(os.environ["HEADWATER_MODELS_DIR"]) / "frame_encoder"
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
        self.read(np.zeros((8, 260, 260, 3), np.uint8))

    def execute(self, requests):
        frames = [pb_utils.get_input_tensor_by_name(request, "frame").as_numpy() for request in requests]
        bounds = np.cumsum([len(part) for part in frames])[:-1]
        outputs = [np.split(output, bounds) for output in self.read(np.concatenate(frames))]
        return [
            pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor("label", label),
                    pb_utils.Tensor("probability", np.ascontiguousarray(probability)),
                    pb_utils.Tensor("embedding", np.ascontiguousarray(embedding)),
                ]
            )
            for label, probability, embedding in zip(*outputs, strict=True)
        ]

    def read(self, frames):
        """Return labels (n, 10) bytes, probabilities float32 (n, 10) and embeddings float32 (n, 384) of the frames."""
        (probabilities,) = self.session.run(["probabilities"], {"frames": frames})
        top = np.argsort(-probabilities, axis=1)[:, :TOP]
        weights = np.take_along_axis(probabilities, top, axis=1)
        embeddings = np.einsum("nk,nkd->nd", weights, self.class_embeddings[top])
        return self.labels[top], weights, embeddings.astype(np.float32)
