"""The learned models of this node, as the topic `releases` names them: each newest release is checked, loaded and swapped in.

Requests go on by what serves meanwhile; a release that can't be loaded changes nothing but what operators are told.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace
from prometheus_client import Counter

from models.canaries import canary_of, serving
from models.learning.releases import opened
from streams.clock import Clock
from streams.events import ModelState, Release
from streams.follower import Followed

log = logging.getLogger(__name__)

# A heartbeat tells of it.
LONGEST_REASON = 1000


def policy_name(version: str, serving: str) -> str:
    """Return how pages and slates name what made them: the settings' policy, and the models that serve if any do."""
    return f"{version} {serving}".strip()


class Served(Protocol):
    """Whatever serves one model."""

    def load(self, folder: Path, version: str) -> None:
        """Let the model in `folder` serve; raises whatever is wrong with it, and then what served before still does."""
        ...

    def unload(self) -> None:
        """Serve without such a model."""
        ...


class LoadCount(Protocol):
    """Counts releases by what became of them."""

    def expect(self, name: str) -> None: ...

    def loaded(self, name: str) -> None: ...

    def refused(self, name: str) -> None: ...


@dataclass(frozen=True)
class Loads:
    """Counts them by Prometheus' client."""

    counter: Counter

    def expect(self, name: str) -> None:
        """Begin at nothing: a series that appears with its first failure is no alarm's."""
        for outcome in ("loaded", "refused"):
            self.counter.labels(name, outcome)

    def loaded(self, name: str) -> None:
        self.counter.labels(name, "loaded").inc()

    def refused(self, name: str) -> None:
        self.counter.labels(name, "refused").inc()


class Models:
    """What serves each model by its name, and canaries by theirs, which `share` of viewers get.

    `follow` is for one thread; what it made is read by any.
    """

    def __init__(self, served: Mapping[str, Served], loads: LoadCount, clock: Clock, *, share: float = 0.0) -> None:
        self._served = served
        self._loads = loads
        self._clock = clock
        self._share = share
        canaries = {canary_of(name) for name in served}
        self._models = [name for name in served if name not in canaries]
        self.states = {name: ModelState(name) for name in served}
        for name in served:
            loads.expect(name)

    def serving(self, user_id: str) -> str:
        """Return what serves a viewer, as a policy is named after it; empty where no model does."""
        versions = {name: state.version for name, state in self.states.items() if state.version}
        by_model = ((name, serving(versions, name, user_id, share=self._share)) for name in self._models)
        return " ".join(f"{name}:{version}" for name, version in by_model if version)

    def follow(self, batch: Sequence[Followed]) -> None:
        """Take over a batch of releases, as a Follower hands it over: of each name the newest, of names unknown here none."""
        newest = {followed.key: followed.event for followed in batch if followed.key in self._served}
        for name, event in newest.items():
            if isinstance(event, Release):
                self._take(name, event)
            else:
                self._served[name].unload()
                self.states[name] = ModelState(name)

    def _take(self, name: str, release: Release) -> None:
        if self.states[name].version == release.version:
            # What was refused meanwhile is not asked for any more.
            self.states[name] = replace(self.states[name], refused="")
            return
        try:
            self._served[name].load(opened(release), release.version)
        except Exception as error:
            # Whatever is wrong with a file, the process that serves goes on.
            log.error("%s %s is not loaded, %s stays: %s", name, release.version, self.states[name].version or "none", error)
            self.states[name] = replace(self.states[name], refused=f"{release.version}: {error}"[:LONGEST_REASON])
            self._loads.refused(name)
        else:
            log.info("%s %s serves", name, release.version)
            self.states[name] = ModelState(name, release.version, self._clock())
            self._loads.loaded(name)
