"""Which videos are watched near each other, as a graph: a video of few watches is known by its neighbours."""

import numpy as np
from scipy import sparse

from models.retrieval.log import WatchLog

# Watches apart, and neighbours kept of a video.
WINDOW, MOST = 3, 20
# A video with one faint neighbour is not wholly made of it.
FLOOR = 0.3


def neighbours(log: WatchLog) -> sparse.csr_matrix:
    """Return each video's nearest by how often and how near they are watched, float32 (m, m), its rows of sum 1 at most."""
    videos, viewers = len(log.video_ids), log.viewers()
    graph = sparse.csr_matrix((videos, videos))
    for apart in range(1, WINDOW + 1):
        same_viewer = viewers[apart:] == viewers[:-apart]
        one, other = log.videos[:-apart][same_viewer], log.videos[apart:][same_viewer]
        graph = graph + sparse.csr_matrix((np.full(len(one), 1 / apart), (one, other)), shape=(videos, videos))
    graph = graph + graph.T
    # What is watched by everybody is near to everything, and says as little.
    scale = sparse.diags(np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1) ** -0.5)
    graph = _nearest((scale @ graph @ scale).tocsr())
    totals = np.asarray(graph.sum(axis=1)).ravel()
    return (sparse.diags(1 / np.maximum(totals, FLOOR)) @ graph).tocsr().astype(np.float32)


def _nearest(graph: sparse.csr_matrix) -> sparse.csr_matrix:
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    strongest_first = np.lexsort((-graph.data, rows))
    kept = strongest_first[np.arange(graph.nnz) - graph.indptr[rows[strongest_first]] < MOST]
    return sparse.csr_matrix((graph.data[kept], (rows[kept], graph.indices[kept])), shape=graph.shape)
