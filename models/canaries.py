"""Canaries: newer versions of models that a share of viewers gets before all others do."""

from collections.abc import Mapping
from typing import TypeVar

from streams.draw import place_of

T = TypeVar("T")


def canary_of(model: str) -> str:
    """Return the name under which releases of a model go to a share of viewers."""
    return f"{model}.canary"


def gets_canary(model: str, user_id: str, share: float) -> bool:
    """Return whether a viewer is one of the `share`, 0..1, who get a model's canary: the same ones everywhere and for good."""
    # No experiment is named so: one of the model's name would draw the same viewers.
    return place_of(canary_of(model), user_id) < share


def serving(slots: Mapping[str, T], model: str, user_id: str, *, share: float) -> T | None:
    """Return which of what is in slots, by their names, serves a viewer: the model's canary for its `share`, else the model."""
    canary = canary_of(model)
    return slots.get(canary if canary in slots and gets_canary(model, user_id, share) else model)
