"""Which places of a page are kept for new videos, where their number may be a fraction."""

from functools import cache

# Places are counted by tens: a page of twenty keeps twice as many as one of ten.
PLACES_A_PAGE = 10


@cache
def in_order(positions: tuple[int, ...]) -> tuple[int, ...]:
    """Return every place of ten in the order in which they are kept: `positions`, then always what is farthest from those.

    Side by side, new videos would be all that a viewer who comes for three videos gets to see.
    """
    order = list(dict.fromkeys(place for place in positions if place < PLACES_A_PAGE)) or [1]
    while len(order) < PLACES_A_PAGE:
        left = [place for place in range(PLACES_A_PAGE) if place not in order]
        order.append(max(left, key=lambda place: min(abs(place - kept) for kept in order)))
    return tuple(order)


def start_of(positions: tuple[int, ...]) -> float:
    """Return how many places of ten `positions` keep."""
    return float(len({place for place in positions if place < PLACES_A_PAGE}))


def chances(order: tuple[int, ...], places: float) -> dict[int, float]:
    """Return the probability with which each place of ten is kept; they sum to `places`, and one at most is neither 0 nor 1."""
    return {place: min(1.0, places - rank) for rank, place in enumerate(order) if places > rank}
