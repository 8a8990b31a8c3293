"""Takedowns and erasures as their proofs tell of them, newest first."""

import threading
from collections.abc import Sequence

from serving.ops.view import PurgeView
from serving.purges import USER_STORES, VIDEO_STORES, Store
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
        stores = self._proofs.setdefault(proof.cause, {})
        before = stores.get(proof.store)
        # A proof may come twice: the first counts, as the second found nothing left.
        if before is None or before.count < proof.count:
            stores[proof.store] = proof
        if len(self._proofs) > self._kept:
            del self._proofs[next(iter(self._proofs))]

    def newest(self, limit: int) -> list[PurgeView]:
        """Return the last purges, newest first."""
        with self._changing:
            return [_view(cause, list(stores.values())) for cause, stores in list(self._proofs.items())[: -limit - 1 : -1]]

    def pending(self) -> int:
        """Return how many purges still wait for a store."""
        with self._changing:
            return sum(bool(_missing(stores)) for stores in self._proofs.values())


def _missing(stores: dict[str, Purged]) -> set[str]:
    first = next(iter(stores.values()))
    return set(USER_STORES if first.subject == "user" else VIDEO_STORES) - set(stores)


def _view(cause: str, proofs: list[Purged]) -> PurgeView:
    proved = [
        Store(store=proof.store, status="purged", purged=proof.count) for proof in sorted(proofs, key=lambda proof: proof.store)
    ]
    missing = sorted(_missing({proof.store: proof for proof in proofs}))
    return PurgeView(
        cause=cause,
        subject=proofs[0].subject,
        subject_id=proofs[0].subject_id,
        at=min(proof.purged_at for proof in proofs),
        complete=not missing,
        stores=[*proved, *(Store(store=name, status="pending", detail="no proof yet") for name in missing)],
    )
