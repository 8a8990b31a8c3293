"""From scored candidates to a page: places kept for new videos, then the most valuable of the rest, apart from each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ranking.features import pack
from serving.catalogue import Catalogue
from serving.columns import Rows, among
from serving.feed.candidates import Candidates
from serving.feed.diversity import arrange
from serving.feed.exploration import Contest, Lottery, Pick
from serving.feed.fairness.steering import Fairness
from serving.feed.kept_places import PLACES_A_PAGE, chances, in_order, start_of
from serving.feed.page import Page, PlacedItem
from serving.feed.query import Query
from serving.feed.reasons import reason
from serving.feed.scorers.interest import similarity
from serving.settings import FeedSettings
from serving.shelves import Shelves

_HOUR_MS = 3_600_000


@dataclass(frozen=True)
class PageSelector:
    """Places that are surely kept are given away first, then the page is filled in order. A propensity is that of a video in
    its place, given the former and the places before: 1 where value decides, less where chance does or might have.
    """

    catalogue: Catalogue
    shelves: Shelves
    settings: FeedSettings
    fairness: Fairness
    name: str = "selector"

    def select(self, query: Query, candidates: Candidates, sources: Sequence[str]) -> Page:
        value = candidates.value
        unseen = candidates.parts.get("again", np.zeros(len(candidates), np.float32)) >= 0.0
        # Videos that come again come last: no place is kept among them.
        kept = self._kept(min(query.limit, int(unseen.sum())))
        contestants, contest = self._contest(query, candidates, unseen, places=len(kept))
        sure = [place for place, chance in kept.items() if chance == 1.0]
        winners = contest.fill(len(sure))
        lotteries = {
            place: Lottery(contest, chance, kept=bool(query.rng.random() < chance))
            for place, chance in kept.items()
            if chance < 1.0
        }
        top = np.argsort(-value, kind="stable")[: max(self.settings.pool_size, self.settings.mmr_top, query.limit)]
        pool = self.catalogue.video_ids(candidates.rows[top[: self.settings.pool_size]])
        top = top[: max(self.settings.mmr_top, query.limit)]
        # The contestants, wherever they stand by value: first, so that contest and page know them by one number.
        chosen = np.concatenate([contestants, top[~among(top, contestants)]])
        by_value = np.ones(len(chosen), dtype=np.bool_)
        by_value[: len(contestants)] = among(contestants, top)
        order = arrange(
            value[chosen],
            candidates.embedded()[chosen],
            self.catalogue.columns.author[candidates.rows[chosen]],
            limit=query.limit,
            reserved={place: winner.index for place, winner in zip(sure, winners, strict=False)},
            settings=self.settings,
            by_value=by_value,
            drawn={place: lottery.draw for place, lottery in lotteries.items()},
        )
        explored = {winner.index for winner in winners} | {lottery.won for lottery in lotteries.values()}
        drawn = [*winners, *(lottery.pick for lottery in lotteries.values() if lottery.pick is not None)]
        picks = {pick.index: pick for pick in drawn}
        described = [b""] * len(order) if candidates.features is None else pack(candidates.features.of(chosen[order]))
        items = tuple(
            self._place(
                query,
                candidates,
                chosen,
                position,
                picks.get(i, Pick(i, 1.0)),
                explored=i in explored,
                sources=sources,
                features=features,
            )
            for position, (i, features) in enumerate(zip(order, described, strict=True))
        )
        shown = [item.card.video.video_id for item in items]
        return Page(query, items, tuple(dict.fromkeys([*shown, *pool]))[: max(self.settings.pool_size, len(shown))])

    def _kept(self, places: int) -> dict[int, float]:
        """Return the probability with which each of `places` places is kept for a new video, where that is not 0."""
        own = self.settings.cold_start.positions
        # An arm of an experiment may keep others than the feed; what fairness adds is the same for all.
        of_ten = chances(in_order(own), max(0.0, start_of(own) + self.fairness.now.more_places))
        return {place: of_ten[place % PLACES_A_PAGE] for place in range(places) if place % PLACES_A_PAGE in of_ten}

    def _contest(self, query: Query, candidates: Candidates, unseen: NDArray[np.bool_], *, places: int) -> tuple[Rows, Contest]:
        """Return the new, unseen videos that fit the viewer, as indexes of `candidates`, and their contest."""
        cold = self.settings.cold_start
        columns = self.catalogue.columns
        # A new video of what the viewer wants less of must find its first viewers elsewhere.
        wanted = candidates.parts.get("steering", np.float32(0.0)) >= 0.0
        index = np.flatnonzero(self.shelves.is_new(candidates.rows, now_ms=query.now_ms) & unseen & wanted)
        fit = np.ones(len(index), dtype=np.float32)
        if query.taste:
            fit = similarity(query.taste, candidates.embedded()[index])
            index, fit = index[fit >= cold.min_similarity], fit[fit >= cold.min_similarity]
        rows = candidates.rows[index]
        age_ms = np.maximum(0, query.now_ms - columns.uploaded_at[rows])
        unspent = 1.0 - columns.shown(rows) / max(1, cold.impressions)
        debut = cold.debut_boost * unspent * np.exp2(-age_ms / (cold.debut_half_life_h * _HOUR_MS))
        merit = (np.maximum(fit, 0.01) * (1.0 + debut)).astype(np.float32)
        nearest = np.argsort(-merit, kind="stable")[: cold.candidates]
        successes, failures = columns.trials(rows[nearest])
        contest = Contest(
            query.rng,
            successes=successes,
            failures=failures,
            merit=merit[nearest],
            authors=columns.author[rows[nearest]],
            places=places,
            draws=cold.draws,
            prior=cold.prior,
        )
        return index[nearest], contest

    def _place(
        self,
        query: Query,
        candidates: Candidates,
        chosen: Rows,
        position: int,
        pick: Pick,
        *,
        explored: bool,
        sources: Sequence[str],
        features: bytes,
    ) -> PlacedItem:
        """Return what `pick`, whose indexes are those of `chosen`, puts in a place."""
        index = int(chosen[pick.index])
        row = int(candidates.rows[index])
        card = self.catalogue.card(row)
        parts = {name: float(part[index]) for name, part in candidates.parts.items()}
        found_by = tuple(name for bit, name in enumerate(sources) if int(candidates.found_by[index]) >> bit & 1)
        again = parts.get("again", 0.0) < 0.0
        rivals = self.catalogue.video_ids(candidates.rows[chosen[list(pick.rivals)]]) if pick.rivals else []
        return PlacedItem(
            row=row,
            card=card,
            position=position,
            score=sum(parts.values()),
            propensity=pick.propensity,
            rivals=dict(zip(rivals, pick.rivals.values(), strict=True)),
            source="exploration" if explored else found_by[0],
            found_by=found_by,
            reason=reason(query, row, card, self.catalogue, explored=explored, again=again, found_by=found_by),
            new=explored,
            parts=parts,
            features=features,
        )
