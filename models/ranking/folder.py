"""A trained ranker as a folder: the graph that serves, its manifest, and the weights that the next training goes on from."""

import hashlib
import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import torch

from models.export import graph
from models.ranking.features import FEATURES, NAMES, VERSION
from models.ranking.network import Network
from models.ranking.objectives import OBJECTIVES
from models.ranking.ranker import FORMAT, GRAPH, MANIFEST, WEIGHTS, BadModel, Manifest, Ranker
from models.ranking.recipe import Recipe


def write(network: Network, folder: Path, *, learned_until: int = 0, figures: Mapping[str, float] = {}) -> Manifest:
    """Write `network` to `folder` and return the manifest, which is written last: without it the folder holds no ranker.

    Raises:
        ExportFailed: the graph computes something else than the network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network.eval()
    rows = np.random.default_rng(0).normal(size=(3, len(FEATURES))).astype(np.float32)
    graph.write(network, folder, {"features": rows}, ["objectives"], free={0: "rows"})
    graph.proven(network, folder, {"features": rows}, {"features": np.ones((1, len(FEATURES)), np.float32)})
    torch.save({"recipe": msgspec.to_builtins(network.recipe), "state": network.state_dict()}, folder / WEIGHTS)
    raw = (folder / GRAPH).read_bytes()
    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    probe = session.run(None, {"features": np.ones((1, len(FEATURES)), np.float32)})[0][0]
    manifest = Manifest(
        format=FORMAT,
        features_version=VERSION,
        features=NAMES,
        objectives=OBJECTIVES,
        sha256=hashlib.sha256(raw).hexdigest(),
        probe=tuple(probe.tolist()),
        learned_until=learned_until,
        figures=dict(figures),
    )
    beside = folder / f".{MANIFEST}.{os.getpid()}.tmp"
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    beside.replace(folder / MANIFEST)
    return manifest


def read(folder: Path) -> tuple[Network, Manifest]:
    """Return the network that was written to `folder`, to go on training from.

    Raises:
        BadModel: the folder holds no ranker that could serve, or no weights that belong to it.
    """
    manifest = Ranker.load(folder).manifest
    try:
        saved = torch.load(folder / WEIGHTS, weights_only=True)
        recipe = Recipe(**saved["recipe"])
        network = Network(recipe, torch.zeros(len(FEATURES)), torch.ones(len(FEATURES)))
        network.load_state_dict(saved["state"])
    except (OSError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise BadModel(f"ranker {folder}: expected its weights in {WEIGHTS}, got {error}; train one from nothing") from error
    return network.eval(), manifest
