"""From scored candidates to a page: places kept for new videos, then the most valuable of the rest, apart from each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.catalogue import Catalogue
from serving.columns import among
from serving.feed.candidates import Candidates
from serving.feed.diversity import arrange
from serving.feed.exploration import Pick, compete
from serving.feed.page import Page, PlacedItem
from serving.feed.query import Query
from serving.feed.reasons import reason
from serving.feed.scorers.again import PENALTY
from serving.feed.scorers.interest import similarity
from serving.settings import FeedSettings
from serving.shelves import Shelves

_HOUR_MS = 3_600_000
_PLACES_A_PAGE = 10


@dataclass(frozen=True)
class PageSelector:
    """Main places are filled by value and diversity and are certain, given the new videos: their propensity is 1."""

    catalogue: Catalogue
    shelves: Shelves
    settings: FeedSettings
    name: str = "selector"

    def select(self, query: Query, candidates: Candidates, sources: Sequence[str]) -> Page:
        value = candidates.value
        unseen = value > -PENALTY / 2
        # Videos that come again come last: no place is kept among them.
        places = range(min(query.limit, int(unseen.sum())))
        kept_places = [place for place in places if place % _PLACES_A_PAGE in self.settings.cold_start.positions]
        picks = self._explore(query, candidates, unseen, places=len(kept_places))
        # The best by value, and the winners among the new, wherever they stand.
        top = np.argsort(-value, kind="stable")[: max(self.settings.pool_size, self.settings.mmr_top, query.limit)]
        pool = self.catalogue.video_ids(candidates.rows[top[: self.settings.pool_size]])
        top = top[: max(self.settings.mmr_top, query.limit)]
        winners = np.array([pick.index for pick in picks], dtype=np.int64)
        chosen = np.concatenate([winners, top[~among(top, winners)]])
        order = arrange(
            value[chosen],
            candidates.embedded()[chosen],
            self.catalogue.columns.author[candidates.rows[chosen]],
            limit=query.limit,
            reserved={place: index for index, place in enumerate(kept_places[: len(picks)])},
            settings=self.settings,
        )
        by_index = {pick.index: pick for pick in picks}
        items = tuple(
            self._place(query, candidates, int(chosen[index]), position, by_index.get(int(chosen[index])), sources)
            for position, index in enumerate(order)
        )
        shown = [item.card.video.video_id for item in items]
        return Page(query, items, tuple(dict.fromkeys([*shown, *pool]))[: max(self.settings.pool_size, len(shown))])

    def _explore(self, query: Query, candidates: Candidates, unseen: NDArray[np.bool_], *, places: int) -> list[Pick]:
        """Return the winners among the new, unseen videos that fit the viewer; indexes are those of `candidates`."""
        cold = self.settings.cold_start
        columns = self.catalogue.columns
        new = self.shelves.is_new(candidates.rows, now_ms=query.now_ms) & unseen
        if query.taste:
            fit = similarity(query.taste, candidates.embedded())
            new &= fit >= cold.min_similarity
        else:
            fit = np.ones(len(candidates), dtype=np.float32)
        # A new video of what the viewer wants less of must find its first viewers elsewhere.
        new &= candidates.parts.get("steering", np.float32(0.0)) >= 0.0
        index = np.flatnonzero(new)
        rows = candidates.rows[index]
        age_ms = np.maximum(0, query.now_ms - columns.uploaded_at[rows])
        unspent = 1.0 - columns.shown(rows) / max(1, cold.impressions)
        debut = cold.debut_boost * unspent * np.exp2(-age_ms / (cold.debut_half_life_h * _HOUR_MS))
        merit = (np.maximum(fit[index], 0.01) * (1.0 + debut)).astype(np.float32)
        nearest = np.argsort(-merit, kind="stable")[: cold.candidates]
        successes, failures = columns.trials(rows[nearest])
        picks = compete(
            query.rng,
            successes=successes,
            failures=failures,
            merit=merit[nearest],
            authors=columns.author[rows[nearest]],
            places=places,
            draws=cold.draws,
            prior=cold.prior,
        )
        found = index[nearest].tolist()
        return [
            Pick(found[pick.index], pick.propensity, {found[rival]: of for rival, of in pick.rivals.items()}) for pick in picks
        ]

    def _place(
        self, query: Query, candidates: Candidates, index: int, position: int, pick: Pick | None, sources: Sequence[str]
    ) -> PlacedItem:
        row = int(candidates.rows[index])
        card = self.catalogue.card(row)
        parts = {name: float(part[index]) for name, part in candidates.parts.items()}
        found_by = tuple(name for bit, name in enumerate(sources) if int(candidates.found_by[index]) >> bit & 1)
        again = parts.get("again", 0.0) < 0.0
        rivals = {} if pick is None else pick.rivals
        names = self.catalogue.video_ids(candidates.rows[list(rivals)]) if rivals else []
        return PlacedItem(
            row=row,
            card=card,
            position=position,
            score=sum(parts.values()),
            propensity=1.0 if pick is None else pick.propensity,
            rivals=dict(zip(names, rivals.values(), strict=True)),
            source="exploration" if pick is not None else found_by[0],
            found_by=found_by,
            reason=reason(
                query, row, card, self.catalogue, explored=pick is not None, again=again, popular="popular" in found_by
            ),
            new=pick is not None,
            parts=parts,
        )
