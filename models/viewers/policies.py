"""Which adapter decides for which viewer: the released one, or for a stable share of viewers a newer one, its canary.

A new one is loaded beside the old, then takes its place by one assignment; the old one is unloaded once nobody uses it.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from models import canaries
from models.settings import AgentSettings
from models.viewers.adapters import Adapters, Refused
from models.viewers.agent import Mind
from models.viewers.policy import NAME, Policy, read
from streams.ports import Count, uncounted

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Serving:
    """An adapter that serves: `version` of its release, what is told of it, and where its files are."""

    version: str
    policy: Policy
    folder: Path

    @property
    def model(self) -> str:
        """Return the server's name of it: another for each version, so that none answers for another."""
        return f"{NAME}-{self.version}"

    @property
    def mind(self) -> Mind:
        """Return it as the agent is told who decides."""
        return Mind(self.model, self.policy.calibration)


class Policies:
    """The adapters that serve, by slot: `NAME` and its `CANARY`. Safe to share between threads."""

    def __init__(self, adapters: Adapters, settings: AgentSettings, *, canary_share: float, count: Count = uncounted) -> None:
        self._adapters = adapters
        self._settings = settings
        self._canary_share = canary_share
        self._count = count
        self._serving: dict[str, Serving] = {}
        self._uses: Counter[str] = Counter()
        self._leaving: set[str] = set()
        self._changing = Lock()
        self._restoring = Lock()
        self._refused: tuple[str, float] = "", 0.0

    def slot(self, name: str) -> "Slot":
        """Return one slot as what serves a model (serving/models.py)."""
        return Slot(self, name)

    @contextmanager
    def of(self, user_id: str) -> Iterator[Serving | None]:
        """Yield who decides for a viewer, None where nothing was released; it stays loaded until the block ends."""
        with self._changing:
            serving = canaries.serving(self._serving, NAME, user_id, share=self._canary_share)
            if serving is not None:
                self._uses[serving.model] += 1
        try:
            yield serving
        finally:
            if serving is not None:
                self._let_go(serving.model)

    def take(self, slot: str, folder: Path, version: str) -> None:
        """Let the adapter in `folder` serve in a slot.

        Where the server is away it serves too: it is loaded once the server is back and asked for it, as after a restart.

        Raises:
            BadPolicy, Refused: what is wrong with it; then the one before it still serves.
        """
        policy = read(folder, base_model=self._settings.model, most_rank=self._settings.lora_rank)
        serving = Serving(version, policy, folder)
        began = time.monotonic()
        try:
            self._adapters.load(serving.model, folder)
        except ConnectionError as error:
            log.warning("%s %s is loaded when the server is back: %s", slot, version, error)
        self._count("agent_swap_ms", round((time.monotonic() - began) * 1000))
        self._put(slot, serving)

    def leave(self, slot: str) -> None:
        """Let nothing serve in a slot."""
        self._put(slot, None)

    def restore(self, serving: Serving, *, within_s: float) -> bool:
        """Load again what the server has forgotten, and return whether it has it now; after a failure not again for a while."""
        with self._restoring:
            refused, until = self._refused
            if refused == serving.model and time.monotonic() < until:
                return False
            try:
                self._adapters.load(serving.model, serving.folder, within_s=max(0.1, within_s))
            except (Refused, ConnectionError) as error:
                # Each plan would ask for it again.
                self._refused = serving.model, time.monotonic() + self._settings.breaker_reset_s
                self._count("agent_adapter/not_restored")
                log.error("%s is not loaded again: %s", serving.model, error)
                return False
        self._count("agent_adapter/restored")
        log.warning("the server had forgotten %s: it is loaded again", serving.model)
        return True

    def _put(self, slot: str, serving: Serving | None) -> None:
        with self._changing:
            before = self._serving.pop(slot, None)
            if serving is not None:
                self._serving[slot] = serving
                self._leaving.discard(serving.model)
            if before is not None:
                self._leaving.add(before.model)
        if before is not None:
            self._unload_if_unused(before.model)

    def _let_go(self, model: str) -> None:
        with self._changing:
            self._uses[model] -= 1
        self._unload_if_unused(model)

    def _unload_if_unused(self, model: str) -> None:
        with self._changing:
            serves = any(serving.model == model for serving in self._serving.values())
            if serves:
                self._leaving.discard(model)
            if self._uses[model] or model not in self._leaving:
                return
            self._leaving.remove(model)
            del self._uses[model]
        try:
            self._adapters.unload(model)
        except ConnectionError as error:
            log.warning("%s is not unloaded, and leaves with its server: %s", model, error)


@dataclass(frozen=True)
class Slot:
    """One slot of the policies: `serving.models.Served`."""

    policies: Policies
    name: str

    def load(self, folder: Path, version: str) -> None:
        """Let the adapter in `folder` serve. Raises BadPolicy or Refused: then the one before it still does."""
        self.policies.take(self.name, folder, version)

    def unload(self) -> None:
        """Serve without one."""
        self.policies.leave(self.name)
