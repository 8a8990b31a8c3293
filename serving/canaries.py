"""What serves one model: the version that everybody gets, and its canary for a share of viewers, each in a slot of its own."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from models.canaries import canary_of, gets_canary
from serving.models import Served

T = TypeVar("T", covariant=True)


class Slot(Served, Protocol[T]):
    """Whatever serves one version of a model."""

    @property
    def current(self) -> T | None:
        """Return what serves, None where nothing does."""
        ...


class Canaried(Generic[T]):
    """Two slots of a model by its `name`: `everybody`'s, and the `canary`'s, which `share` of viewers get where one runs."""

    def __init__(self, name: str, slot: Callable[[], Slot[T]], *, share: float) -> None:
        self.everybody, self.canary = slot(), slot()
        self._name = name
        self._share = share

    def of(self, user_id: str) -> T | None:
        """Return what serves a viewer, None where nothing does. A page asks once: it ends with the one that it began with."""
        canary = self.canary.current
        return canary if canary is not None and gets_canary(self._name, user_id, self._share) else self.everybody.current

    def slots(self) -> dict[str, Served]:
        """Return both by the names that releases for them have."""
        return {self._name: self.everybody, canary_of(self._name): self.canary}
