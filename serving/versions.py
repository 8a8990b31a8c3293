"""The versions of a model that serve at a time: everybody's, and a canary for a share of viewers; swapped by one assignment."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from models.canaries import canary_of, serving
from serving.models import Served

T = TypeVar("T")


class Versions(Generic[T]):
    """A model by its `name`: what everybody gets, and in its place for `share` of viewers its canary, where one runs.

    One thread loads and unloads; requests read meanwhile.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[Path, str], T | None],
        *,
        leave: Callable[[T], object] = lambda model: None,
        share: float = 0.0,
    ) -> None:
        """`load` makes a model of a release's folder and version, None at a stop; `leave` is told of one that serves nobody."""
        self._name = name
        self._load = load
        self._leave = leave
        self._share = share
        self._held: dict[str, tuple[str, T]] = {}

    def of(self, user_id: str) -> T | None:
        """Return what serves a viewer, None where nothing does. A page asks once: it ends with the one that it began with."""
        held = serving(self._held, self._name, user_id, share=self._share)
        return held and held[1]

    def slots(self) -> dict[str, Served]:
        """Return what takes releases by the names that they have; without a share none is taken for a canary."""
        names = (self._name, canary_of(self._name)) if self._share else (self._name,)
        return {name: Slot(self, name) for name in names}

    def load(self, slot: str, folder: Path, version: str) -> None:
        """Let a version serve in a slot, from the other slot if that has it. Raises what `load` does: the one before serves."""
        held = next((each for each in self._held.values() if each[0] == version), None)
        if held is None:
            loaded = self._load(folder, version)
            if loaded is None:
                return
            held = version, loaded
        before = self._held.get(slot)
        self._held[slot] = held
        self._let_go(before)

    def unload(self, slot: str) -> None:
        """Let nothing serve in a slot."""
        self._let_go(self._held.pop(slot, None))

    def _let_go(self, before: tuple[str, T] | None) -> None:
        if before is not None and all(held is not before for held in self._held.values()):
            self._leave(before[1])


@dataclass(frozen=True)
class Slot:
    """One slot of a model's versions: `serving.models.Served`."""

    versions: Versions[Any]
    name: str

    def load(self, folder: Path, version: str) -> None:
        """Let the model in `folder` serve; raises whatever is wrong with it, and then what served before still does."""
        self.versions.load(self.name, folder, version)

    def unload(self) -> None:
        """Serve without one."""
        self.versions.unload(self.name)
