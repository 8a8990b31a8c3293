"""When videos appeared, as a place among all of them: viewers watch what is new when they watch."""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg
from scipy.stats import rankdata

from models.retrieval.log import WatchLog
from streams.features import Vector

# How much a place is drawn to the middle: without, a video of one watch lies wherever that puts it.
DAMPING = 0.3


def appeared(log: WatchLog) -> Vector:
    """Return when each video appeared, float32 (m,): 0 the oldest, 1 the newest, as are those that nobody watched yet.

    By the order in which viewers watched alone: least squares of "the next video is a step later" over all neighbours in their
    histories (HodgeRank, Jiang et al. 2011). Data sets' upload times are often first watches, and know what is held out.
    """
    videos = len(log.video_ids)
    same_viewer = np.diff(log.viewers()) == 0
    before, after = log.videos[:-1][same_viewer], log.videos[1:][same_viewer]
    pair = np.arange(len(before))
    ones = np.ones(len(pair))
    steps = sparse.csr_matrix(
        (np.concatenate([ones, -ones]), (np.concatenate([pair, pair]), np.concatenate([after, before]))),
        shape=(len(pair), videos),
    )
    when, _ = cg(steps.T @ steps + DAMPING * sparse.eye(videos), steps.T @ ones, rtol=1e-5)
    places = np.ones(videos, np.float32)
    if (watched := log.counts() > 0).any():
        places[watched] = rankdata(when[watched]) / watched.sum()
    return places
