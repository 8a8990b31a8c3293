"""What the catalogue holds, how evenly its authors are shown, and what is done about it."""

import numpy as np

from serving.catalogue import Catalogue
from serving.columns import STATS, Rows
from serving.feed.fairness.gini import gini
from serving.feed.fairness.steering import Steered
from serving.ops.view import AgeBucket, CatalogueView, FairnessView, NewVideo
from serving.settings import ColdStartSettings, FairnessSettings
from serving.shelves import Shelves
from streams.state.engagement import HALF_LIFE_MS

_HOUR_MS = 3_600_000
_AGES_H = (1.0, 6.0, 24.0, 72.0, 168.0)
# The newest videos that are told of one by one.
NEWEST = 20
_IMPRESSIONS = STATS.index("impressions")


def exposure_gini(catalogue: Catalogue, rows: Rows, now_ms: int) -> float | None:
    """Return how unevenly impressions, decayed until now, fall on the authors of `rows`; those never shown count as 0."""
    columns = catalogue.columns
    age = np.maximum(0, now_ms - columns.stats_as_of[rows]) / HALF_LIFE_MS
    by_author = np.bincount(columns.author[rows], columns.stats[rows, _IMPRESSIONS] * np.exp2(-age))
    has_videos = np.bincount(columns.author[rows]) > 0
    return gini(by_author[has_videos])


def catalogue_view(catalogue: Catalogue, shelves: Shelves, settings: ColdStartSettings, now_ms: int) -> CatalogueView:
    """Return what to tell of the catalogue: some milliseconds at 100,000 videos."""
    columns = catalogue.columns
    rows = catalogue.alive()
    new = rows[shelves.is_new(rows, now_ms=now_ms)]
    age_h = (now_ms - columns.uploaded_at[rows]) / _HOUR_MS
    # The oldest are in the last bucket, whatever their age: none may be missing from the sum.
    place = np.minimum(np.searchsorted(_AGES_H, age_h), len(_AGES_H) - 1)
    counts = np.bincount(place, minlength=len(_AGES_H))
    return CatalogueView(
        videos=len(catalogue),
        live_rooms=len(catalogue.live),
        new_videos=len(new),
        # Not numpy's unique, which would sort them.
        authors=int(np.count_nonzero(np.bincount(columns.author[rows]))),
        exposure_gini=exposure_gini(catalogue, rows, now_ms),
        ages=[AgeBucket(up_to_h, int(videos)) for up_to_h, videos in zip(_AGES_H, counts, strict=True)],
        newest=_newest(catalogue, new, settings),
    )


def fairness_view(steered: Steered, settings: FairnessSettings) -> FairnessView:
    """Return whom this node showed lately, beside the targets, and where the knobs stand."""
    return FairnessView(
        new_share=steered.served.new_share,
        new_share_target=settings.new_share or None,
        places=steered.places,
        author_gini=steered.served.author_gini,
        author_gini_target=settings.author_gini if settings.author_gini < 1.0 else None,
        author_weight=steered.author_weight,
    )


def _newest(catalogue: Catalogue, new: Rows, settings: ColdStartSettings) -> list[NewVideo]:
    columns = catalogue.columns
    rows = new[np.argsort(-columns.uploaded_at[new], kind="stable")[:NEWEST]]
    successes, failures = columns.trials(rows)
    of_success, of_failure = settings.prior
    chances = (of_success + successes) / (of_success + of_failure + successes + failures)
    found = []
    for row, shown, chance in zip(rows.tolist(), columns.shown(rows).tolist(), chances.tolist(), strict=True):
        # It may have left since.
        card = catalogue.find(catalogue.video_ids(np.array([row]))[0])
        if card is not None:
            video = card.video
            found.append(
                NewVideo(
                    video_id=video.video_id, title=video.title, author_id=video.author_id, uploaded_at=video.uploaded_at,
                    stage=card.stage, impressions=shown, budget=settings.impressions, success=chance,
                )
            )  # fmt: skip
    return found
