"""The framework of the feed: what a stage of each kind does, and the order in which they run.

Hydrators may wait for a store; all that follows is arithmetic on memory, a few milliseconds that need no other thread.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from serving.columns import Floats, Rows
from serving.feed.candidates import Candidates, Described
from serving.feed.page import Page, StageTrace
from serving.feed.query import Query


class Stage(Protocol):
    """What all stages share: a name, by which settings switch them off and traces tell of them."""

    @property
    def name(self) -> str: ...


class Hydrator(Stage, Protocol):
    async def hydrate(self, query: Query) -> Query:
        """Return the query with more known of its viewer."""
        ...


class Source(Stage, Protocol):
    def find(self, query: Query) -> Rows:
        """Return catalogue rows, in any order, repeated or gone ones included."""
        ...


class Filter(Stage, Protocol):
    def keep(self, query: Query, candidates: Candidates) -> NDArray[np.bool_]:
        """Return which candidates may stay, shape (n,)."""
        ...


class Scorer(Stage, Protocol):
    def score(self, query: Query, candidates: Candidates) -> Floats:
        """Return what this part adds to each candidate's value, shape (n,)."""
        ...


class Features(Stage, Protocol):
    def of(self, query: Query, candidates: Candidates) -> NDArray[np.float32]:
        """Return the ranker's features of each candidate, shape (n, f)."""
        ...


class Ranking(Stage, Protocol):
    def parts(self, query: Query, candidates: Candidates) -> dict[str, Floats] | None:
        """Return what each objective adds to each candidate's value, shape (n,); None without a ranker."""
        ...


class Selector(Stage, Protocol):
    def select(self, query: Query, candidates: Candidates, sources: Sequence[str]) -> Page:
        """Return the page; `sources` are the names behind the bits of `found_by`."""
        ...


class Effect(Stage, Protocol):
    def follow(self, page: Page) -> None:
        """Do what follows from a page; must not wait for anything."""
        ...


@dataclass(frozen=True)
class Stages:
    """The stages of a feed, in order."""

    hydrators: tuple[Hydrator, ...]
    sources: tuple[Source, ...]
    filters: tuple[Filter, ...]
    scorers: tuple[Scorer, ...]
    selector: Selector
    effects: tuple[Effect, ...] = ()
    features: Features | None = None
    ranker: Ranking | None = None
    # Scorers whose place the ranker takes where there is one.
    by_hand: tuple[Scorer, ...] = ()

    def without(self, off: frozenset[str]) -> "Stages":
        """Return the stages less those named in `off`.

        Raises:
            ValueError: a name that no stage has, or the selector's.
        """
        scorers = (self.features, self.ranker, *self.by_hand, *self.scorers)
        optional = (*self.hydrators, *self.sources, *self.filters, *scorers, *self.effects)
        names = {stage.name for stage in optional if stage is not None}
        if off - names:
            raise ValueError(f"feed.off names {sorted(off - names)}; stages that can be off: {', '.join(sorted(names))}")
        return Stages(
            _on(self.hydrators, off),
            _on(self.sources, off),
            _on(self.filters, off),
            _on(self.scorers, off),
            self.selector,
            _on(self.effects, off),
            None if self.features is None or self.features.name in off else self.features,
            None if self.ranker is None or self.ranker.name in off else self.ranker,
            _on(self.by_hand, off),
        )


AnyStage = TypeVar("AnyStage", bound=Stage)


def _on(stages: tuple[AnyStage, ...], off: frozenset[str]) -> tuple[AnyStage, ...]:
    return tuple(stage for stage in stages if stage.name not in off)


@dataclass
class _Trace:
    stages: list[StageTrace] = field(default_factory=list)
    out: int = 0

    @contextmanager
    def stage(self, kind: str, stage: Stage, n_in: int = 0) -> Iterator[None]:
        started = time.perf_counter()
        self.out = n_in
        yield
        self.stages.append(StageTrace(kind, stage.name, n_in, self.out, (time.perf_counter() - started) * 1000))


class FeedPipeline:
    """Makes pages. `vectors` looks up the embeddings, (n, 384), of catalogue rows."""

    def __init__(self, stages: Stages, vectors: Callable[[Rows], NDArray[np.float32]]) -> None:
        self._stages = stages
        self._vectors = vectors

    async def run(self, query: Query) -> Page:
        """Return the page for `query`, with the trace of every stage up to the selector."""
        trace = _Trace()
        query = await self._hydrate(query, trace)
        candidates = self._source(query, trace)
        candidates = self._filter(query, candidates, trace)
        candidates = self._score(query, candidates, trace)
        page = self._select(query, candidates, trace)
        self._follow(page)
        return page

    async def _hydrate(self, query: Query, trace: _Trace) -> Query:
        for hydrator in self._stages.hydrators:
            with trace.stage("hydrator", hydrator):
                query = await hydrator.hydrate(query)
        return query

    def _source(self, query: Query, trace: _Trace) -> Candidates:
        found = []
        for source in self._stages.sources:
            with trace.stage("source", source):
                found.append(source.find(query))
                trace.out = len(found[-1])
        return Candidates.merge(found)

    def _filter(self, query: Query, candidates: Candidates, trace: _Trace) -> Candidates:
        for each in self._stages.filters:
            with trace.stage("filter", each, len(candidates)):
                candidates = candidates.keep(each.keep(query, candidates))
                trace.out = len(candidates)
        return candidates

    def _score(self, query: Query, candidates: Candidates, trace: _Trace) -> Candidates:
        stages = self._stages
        candidates = replace(candidates, vectors=self._vectors(candidates.rows))
        if stages.features is not None:
            candidates = replace(candidates, features=Described(candidates, partial(_features, stages.features, query, trace)))
        ranked: dict[str, Floats] | None = None
        if stages.ranker is not None:
            with trace.stage("scorer", stages.ranker, len(candidates)):
                ranked = stages.ranker.parts(query, candidates)
        parts = ranked or {}
        for scorer in (*(stages.by_hand if ranked is None else ()), *stages.scorers):
            with trace.stage("scorer", scorer, len(candidates)):
                parts[scorer.name] = scorer.score(query, candidates)
        return replace(candidates, parts=parts)

    def _select(self, query: Query, candidates: Candidates, trace: _Trace) -> Page:
        sources = [source.name for source in self._stages.sources]
        with trace.stage("selector", self._stages.selector, len(candidates)):
            page = self._stages.selector.select(query, candidates, sources)
            trace.out = len(page.items)
        return replace(page, trace=tuple(trace.stages))

    def _follow(self, page: Page) -> None:
        for effect in self._stages.effects:
            effect.follow(page)


def _features(stage: Features, query: Query, trace: _Trace, candidates: Candidates) -> NDArray[np.float32]:
    """Return the features of candidates when they are asked for: their time is that of the stage that asks, too."""
    with trace.stage("hydrator", stage, len(candidates)):
        return stage.of(query, candidates)
