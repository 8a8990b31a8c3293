"""Logs and histories as sparse matrices of viewers by videos, which the libraries want."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from models.retrieval.log import History, WatchLog


def of_log(log: WatchLog) -> sparse.csr_matrix:
    """Return 1 for each watch, float32 (viewers, m)."""
    ones = np.ones(len(log), np.float32)
    return sparse.csr_matrix((ones, log.videos, log.bounds), shape=(len(log.viewer_ids), len(log.video_ids)))


def of_histories(histories: Sequence[History], videos: int) -> sparse.csr_matrix:
    """Return 1 for each watch in histories, float32 (viewers, m)."""
    bounds = np.concatenate([[0], np.cumsum([len(history) for history in histories])])
    rows = np.concatenate([history.videos for history in histories])
    return sparse.csr_matrix((np.ones(len(rows), np.float32), rows, bounds), shape=(len(histories), videos))
