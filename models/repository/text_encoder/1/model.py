"""Texts to unit vectors: MiniLM in ONNX Runtime, inside Triton's Python backend.

Input `text` (n, 1) UTF-8, output `embedding` (n, 384). `python -m models.export` makes the files,
$HEADWATER_MODELS_DIR/text_encoder.
"""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer

# 99 of 100 short-video titles fit; twice as many tokens halve the throughput of a batch for the last one.
MAX_TOKENS = 64
# Texts of like length share a pass: smaller passes waste fewer padded tokens, larger ones fewer calls.
PASS = 16


class TritonPythonModel:
    def initialize(self, args):
        if int(np.__version__.split(".")[0]) >= 2:
            raise pb_utils.TritonModelException(
                f"expected numpy<2 in Triton's Python environment, got {np.__version__}: outputs would come back empty"
            )
        folder = Path(os.environ["HEADWATER_MODELS_DIR"]) / "text_encoder"
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
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.no_padding()
        # The first pass allocates; better before the model is ready than in a viewer's request.
        self.embed(["warm up"] * PASS)

    def execute(self, requests):
        texts = [pb_utils.get_input_tensor_by_name(request, "text").as_numpy().reshape(-1) for request in requests]
        embeddings = self.embed([text.decode("utf-8", "replace") for text in np.concatenate(texts)])
        parts = np.split(embeddings, np.cumsum([len(text) for text in texts])[:-1])
        return [pb_utils.InferenceResponse([pb_utils.Tensor("embedding", np.ascontiguousarray(part))]) for part in parts]

    def embed(self, texts):
        """Return unit vectors, float32 (n, 384)."""
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        by_length = np.argsort([len(ids) for ids in tokens])
        embeddings = np.empty((len(texts), 384), np.float32)
        for start in range(0, len(texts), PASS):
            rows = by_length[start : start + PASS]
            ids = np.zeros((len(rows), len(tokens[rows[-1]])), np.int64)
            mask = np.zeros_like(ids)
            for at, row in enumerate(rows):
                ids[at, : len(tokens[row])] = tokens[row]
                mask[at, : len(tokens[row])] = 1
            (embeddings[rows],) = self.session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": mask})
        return embeddings
