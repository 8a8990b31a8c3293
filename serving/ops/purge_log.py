"""Takedowns and erasures as their proofs tell of them, newest first."""

import threading
from collections.abc import Sequence

from serving.ops.view import PurgeView
from serving.purges import USER_STORES, VIDEO_STORES, Store, keep, purged
from streams.events import Purged
from streams.follower import Followed

# More than anyone reads back.
KEPT = 1_000


class PurgeLog:
    """The last purges by their cause. Safe to use from several threads."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._proofs: dict[str, dict[str, Purged]] = {}
        self._changing = threading.Lock()

    def follow(self, batch: Sequence[Followed]) -> None:
        """Take over a batch of proofs, as a Follower hands it over."""
        with self._changing:
            for followed in batch:
                if isinstance(followed.event, Purged):
                    self._take(followed.event)

    def _take(self, proof: Purged) -> None:
        keep(self._proofs.setdefault(proof.cause, {}), proof)
        if len(self._proofs) > self._kept:
            del self._proofs[next(iter(self._proofs))]

    def newest(self, limit: int) -> list[PurgeView]:
        """Return the last purges, newest first."""
        with self._changing:
            return [_view(cause, proofs) for cause, proofs in list(self._proofs.items())[: -limit - 1 : -1]]

    def pending(self) -> int:
        """Return how many purges still wait for a store."""
        with self._changing:
            return sum(bool(_missing(stores)) for stores in self._proofs.values())


def _missing(stores: dict[str, Purged]) -> set[str]:
    first = next(iter(stores.values()))
    return set(USER_STORES if first.subject == "user" else VIDEO_STORES) - set(stores)


def _view(cause: str, proofs: dict[str, Purged]) -> PurgeView:
    first, missing = next(iter(proofs.values())), sorted(_missing(proofs))
    return PurgeView(
        cause=cause,
        subject=first.subject,
        subject_id=first.subject_id,
        at=min(proof.purged_at for proof in proofs.values()),
        complete=not missing,
        stores=[*purged(proofs), *(Store(store=name, status="pending", detail="no proof yet") for name in missing)],
    )
