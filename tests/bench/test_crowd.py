"""The crowd of the ranker's bench: the real feed and states, simulated viewers, and what is known of their taste."""

import numpy as np

from bench.crowd import Crowd, visits
from models.ranking.rows import read
from streams.flows.feedback_log import FeedbackLog

PAUSE_MS = 10_000


def crowd(seed: int = 0) -> Crowd:
    return Crowd(viewers=8, videos=80, seed=seed, ranker=lambda: None)


def test_every_page_becomes_feedback_that_can_be_learned_from() -> None:
    made = crowd()
    pages = visits(made, 30, PAUSE_MS)
    feedback = made.end()
    assert {each.request_id for each in feedback} == {page.slate.request_id for page in pages}
    rows, left_out = read(FeedbackLog.table(feedback))
    assert len(rows) + left_out.not_seen == sum(len(page.slate.items) for page in pages)
    assert (left_out.other_version, left_out.broken) == (0, 0)
    assert made.end() == []


def test_what_viewers_do_reaches_their_features_and_the_statistics_of_videos() -> None:
    made = crowd()
    pages = visits(made, 30, PAUSE_MS)
    known = made.viewer(pages[0].user_id)
    assert known.history is not None
    assert known.activity is not None
    assert known.activity.impressions > 0
    assert made.feed.catalogue.columns.impressions.sum() > 100


def test_viewers_like_better_what_they_are_said_to_like() -> None:
    made = crowd()
    pages = visits(made, 60, PAUSE_MS)
    done = {(each.request_id, item.video_id): item.actions for each in made.end() for item in each.items}
    looked_at = [
        (interest, done[page.slate.request_id, item.video_id])
        for page in pages
        for item, interest in zip(page.slate.items, page.interest, strict=True)
        if done[page.slate.request_id, item.video_id]
    ]
    finished = np.array(["complete" in actions for _, actions in looked_at])
    interest = np.array([each for each, _ in looked_at])
    assert interest[finished].mean() > interest[~finished].mean() + 0.15
    assert all(page.best >= np.mean(page.interest) - 1e-9 for page in pages)


def test_the_same_seed_makes_the_same_pages() -> None:
    shown = [[[item.video_id for item in page.slate.items] for page in visits(crowd(seed), 10, PAUSE_MS)] for seed in (3, 3, 4)]
    assert shown[0] == shown[1] != shown[2]
