"""Sound to what it is: the convolutional network of inaSpeechSegmenter (Doukhan et al. 2018) in ONNX Runtime, inside Triton.

Input `samples` (n,) of 16-bit sound, 16,000 a second, one channel; output `share` (3,): how much is speech, music and other
sounds; what is missing to 1 is silence. `python -m models.export` makes the file, $HEADWATER_MODELS_DIR/sound_tagger.
"""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

RATE = 16_000
# Windows of 25 ms every 10 ms; the network judges 68 of them, and here that every 200 ms.
WINDOW, HOP, FOURIER = 400, 160, 512
PATCH, STEP = 68, 20
BANDS, HEARD_BANDS = 24, 21
LOWEST_HZ, HIGHEST_HZ = 100.0, 8000.0
PRE_EMPHASIS = 0.97
# Patches in one pass: each takes a third of a megabyte in the network's first layer.
TOGETHER = 128
# Root of the mean square, of 32,768, below which nobody hears anything: -60 dB.
SILENT_BELOW = 33.0


class TritonPythonModel:
    def initialize(self, args):
        if int(np.__version__.split(".")[0]) >= 2:
            raise pb_utils.TritonModelException(
                f"expected numpy<2 in Triton's Python environment, got {np.__version__}: outputs would come back empty"
            )
        folder = Path(os.environ["HEADWATER_MODELS_DIR"]) / "sound_tagger"
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
        self.bank = mel_bank()
        # The first pass allocates; better before the model is ready than in an upload's request.
        self.shares(np.arange(RATE, dtype=np.int16))

    def execute(self, requests):
        sounds = [pb_utils.get_input_tensor_by_name(request, "samples").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("share", self.shares(sound))]) for sound in sounds]

    def shares(self, samples):
        """Return the shares of speech, music and other sounds, float32 (3,)."""
        if len(samples) < WINDOW + (PATCH - 1) * HOP:
            return np.zeros(3, np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP].astype(np.float32)
        loud = np.sqrt(_patches((frames**2).mean(axis=1)).mean(axis=1)) >= SILENT_BELOW
        if not loud.any():
            return np.zeros(3, np.float32)
        patches = _patches(self.spectrum(frames))[loud].transpose(0, 2, 1)
        patches -= patches.mean(axis=(1, 2), keepdims=True)
        patches /= patches.std(axis=(1, 2), keepdims=True) + 1e-9
        whole = np.ascontiguousarray(patches, np.float32)
        total = sum(self.judged(whole[start : start + TOGETHER]).sum(axis=0) for start in range(0, len(whole), TOGETHER))
        return (total / len(loud)).astype(np.float32)

    def judged(self, patches):
        """Return probabilities, float32 (n, 3)."""
        (probabilities,) = self.session.run(None, {"patches": patches})
        return probabilities

    def spectrum(self, frames):
        """Return the logarithm of the energy in each band, (windows, 21)."""
        emphasised = frames - PRE_EMPHASIS * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        power = np.abs(np.fft.rfft(emphasised * np.hanning(WINDOW), FOURIER)) ** 2
        return np.log(power @ self.bank.T + 1e-9)[:, :HEARD_BANDS]


def mel_bank():
    """Return 24 triangles of equal area, equally far apart by ear, over the bins of the Fourier transform, (24, 257)."""
    lowest, highest = (2595 * np.log10(1 + hz / 700) for hz in (LOWEST_HZ, HIGHEST_HZ))
    edges = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)
    bins = np.arange(FOURIER // 2 + 1) * RATE / FOURIER
    low, middle, high = (edges[at : at + BANDS, None] for at in range(3))
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    # The network was trained on triangles that lack their last bin.
    last = np.floor(high * FOURIER / RATE) * RATE / FOURIER
    heights = np.where(bins <= middle, rising, np.where(bins < last, falling, 0))
    return np.maximum(heights, 0) * 2 / (high - low)


def _patches(values):
    """Return what lies within each of the network's windows, (n, …, 68)."""
    return np.lib.stride_tricks.sliding_window_view(values, PATCH, axis=0)[::STEP]
