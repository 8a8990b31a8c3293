"""The ranker that serves: an ONNX graph in a folder, checked by its manifest and a probe before any viewer sees its pages."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime

from models.ranking.features import NAMES, VERSION, Matrix
from models.ranking.objectives import OBJECTIVES

# Of the folder's layout and the graph's inputs and outputs.
FORMAT = 1
GRAPH, WEIGHTS, MANIFEST = "model.onnx", "weights.pt", "manifest.json"
# What a graph of another machine's kernels may differ by on the same row.
_PROBE_OFF = 1e-3


class BadModel(ValueError):
    """This folder holds no ranker that may serve. The message says what was expected, what came, and what to do."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder says of its graph. `probe` are the outputs for a row of ones, `learned_until` is Unix ms."""

    format: int
    features_version: int
    features: tuple[str, ...]
    objectives: tuple[str, ...]
    sha256: str
    probe: tuple[float, ...]
    learned_until: int = 0
    figures: dict[str, float] = {}


class Ranker:
    """Predicts; safe to use from several threads. `manifest` says of what version it is."""

    def __init__(self, session: onnxruntime.InferenceSession, manifest: Manifest) -> None:
        self._session = session
        self.manifest = manifest

    @staticmethod
    def load(folder: Path) -> "Ranker":
        """Return the ranker in `folder`.

        Raises:
            BadModel: it is incomplete, of another version, or does not compute what it did where it was made.
        """
        manifest = _manifest(folder)
        graph = _graph(folder, manifest)
        options = onnxruntime.SessionOptions()
        # A thousand rows take a fraction of a millisecond: a second thread costs more waiting than it saves.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            ranker = Ranker(session, manifest)
            probed = ranker.predict(np.ones((1, len(NAMES)), np.float32))
        # ONNX Runtime's errors have no base of their own.
        except Exception as error:
            raise _bad(folder, f"a graph of one input, features (n, {len(NAMES)})", str(error), "export it again") from error
        _check_probe(folder, probed, manifest)
        return ranker

    def predict(self, features: Matrix) -> Matrix:
        """Return the probability of each objective (of `watch_share`: the share), (n, objectives), for features (n, f)."""
        expected: Matrix = self._session.run(None, {"features": features})[0]
        return expected


def _manifest(folder: Path) -> Manifest:
    try:
        raw = (folder / MANIFEST).read_bytes()
        # The format first: another one may have other fields.
        form = msgspec.json.decode(raw).get("format")
    except FileNotFoundError:
        raise _bad(folder, f"a {MANIFEST}", "none", "name the folder that a training wrote") from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, AttributeError) as error:
        raise _bad(folder, f"a {MANIFEST} of JSON", str(error), "copy the folder again") from error
    if form != FORMAT:
        raise _bad(folder, f"format {FORMAT}", f"format {form}", "train a ranker with this version of Headwater")
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.ValidationError as error:
        raise _bad(folder, f"a {MANIFEST} of format {FORMAT}", str(error), "copy the folder again") from error
    again = "train a ranker on pages that were served with these features"
    if manifest.features_version != VERSION:
        raise _bad(folder, f"features of version {VERSION}", f"version {manifest.features_version}", again)
    if manifest.features != NAMES:
        other = sorted(set(manifest.features) ^ set(NAMES)) or "another order"
        raise _bad(folder, f"{len(NAMES)} features as in models/ranking/features.py", f"others: {other}", again)
    if manifest.objectives != OBJECTIVES:
        came = ", ".join(manifest.objectives)
        raise _bad(folder, f"objectives {', '.join(OBJECTIVES)}", came, "train a ranker for these")
    return manifest


def _graph(folder: Path, manifest: Manifest) -> bytes:
    try:
        graph = (folder / GRAPH).read_bytes()
    except OSError as error:
        raise _bad(folder, f"a file {GRAPH}", str(error), "copy the folder again") from error
    digest = hashlib.sha256(graph).hexdigest()
    if digest != manifest.sha256:
        came = f"{digest} in {len(graph)} bytes: cut off, or not the file of this manifest"
        raise _bad(folder, f"{GRAPH} of sha256 {manifest.sha256}", came, "copy the folder again")
    return graph


def _check_probe(folder: Path, probed: Matrix, manifest: Manifest) -> None:
    shape = (1, len(OBJECTIVES))
    if probed.shape != shape:
        raise _bad(folder, f"outputs of shape {shape} for one row", f"{probed.shape}", "export it again")
    if not (np.isfinite(probed).all() and (probed >= 0.0).all() and (probed <= 1.0).all()):
        raise _bad(folder, "probabilities for a row of ones", f"{probed[0].tolist()}", "train it again: its weights are broken")
    if len(manifest.probe) != len(OBJECTIVES) or float(np.abs(probed[0] - manifest.probe).max()) > _PROBE_OFF:
        raise _bad(folder, f"{manifest.probe} for a row of ones", f"{probed[0].tolist()}", "export it again on this machine")


def _bad(folder: Path, expected: str, came: str, do: str) -> BadModel:
    return BadModel(f"ranker {folder}: expected {expected}, got {came}; {do}")
