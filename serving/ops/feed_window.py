"""The feed over the last seconds: how many pages, how fast, and what each stage of them took."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from serving.feed.page import StageTrace
from serving.ops.view import FeedView, StageView

PAGES_OVER_S = 10
STAGES_OVER_S = 60


@dataclass
class _Stage:
    pages: int = 0
    ms: float = 0.0
    n_in: int = 0
    n_out: int = 0


@dataclass
class _Second:
    """What was answered in one second: times in ms, by stage in the order in which they ran."""

    at: int
    took_ms: list[float] = field(default_factory=list)
    errors: int = 0
    stages: dict[tuple[str, str], _Stage] = field(default_factory=dict)


class FeedWindow:
    """The last minute of pages, a second at a time. Written by the event loop, read by any thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seconds: deque[_Second] = deque([_Second(int(monotonic()))], maxlen=STAGES_OVER_S + 1)

    def answered(self, took_ms: float, *, failed: bool) -> None:
        """Count an answer."""
        second = self._now()
        second.took_ms.append(took_ms)
        second.errors += failed

    def page(self, trace: Iterable[StageTrace]) -> None:
        """Count what the stages of a page did."""
        stages = self._now().stages
        for step in trace:
            stage = stages.get((step.kind, step.name))
            if stage is None:
                stage = stages[step.kind, step.name] = _Stage()
            stage.pages += 1
            stage.ms += step.ms
            stage.n_in += step.n_in
            stage.n_out += step.n_out

    def _now(self) -> _Second:
        at = int(self._monotonic())
        if self._seconds[-1].at != at:
            self._seconds.append(_Second(at))
        return self._seconds[-1]

    def view(self, *, slates_lost: int, degraded: bool) -> FeedView:
        """Return what to tell of whole seconds: the one that has begun would make each rate look too low."""
        now = int(self._monotonic())
        whole = [second for second in list(self._seconds) if second.at < now]
        lately = [second for second in whole if second.at >= now - PAGES_OVER_S]
        took_ms = [ms for second in lately for ms in second.took_ms]
        p50, p99 = np.percentile(took_ms, (50, 99)).tolist() if took_ms else (None, None)
        return FeedView(
            pages_per_s=len(took_ms) / PAGES_OVER_S,
            p50_ms=p50,
            p99_ms=p99,
            errors_per_s=sum(second.errors for second in lately) / PAGES_OVER_S,
            slates_lost=slates_lost,
            degraded=degraded,
            stages=_stages([second for second in whole if second.at >= now - STAGES_OVER_S]),
        )


def _stages(seconds: Iterable[_Second]) -> list[StageView]:
    sums: dict[tuple[str, str], _Stage] = {}
    for second in seconds:
        for name, stage in list(second.stages.items()):
            total = sums.setdefault(name, _Stage())
            total.pages += stage.pages
            total.ms += stage.ms
            total.n_in += stage.n_in
            total.n_out += stage.n_out
    return [
        StageView(
            kind=kind,
            name=name,
            mean_ms=total.ms / total.pages,
            candidates_in=total.n_in / total.pages,
            candidates_out=total.n_out / total.pages,
        )
        for (kind, name), total in sums.items()
        if total.pages
    ]
