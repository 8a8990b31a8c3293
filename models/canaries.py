"""Canaries: newer versions of models that a share of viewers gets before all others do."""

from streams.draw import place_of


def canary_of(model: str) -> str:
    """Return the name under which releases of a model go to a share of viewers."""
    return f"{model}.canary"


def gets_canary(model: str, user_id: str, share: float) -> bool:
    """Return whether a viewer is one of the `share`, 0..1, who get a model's canary: the same ones everywhere and for good."""
    # No experiment is named so: one of the model's name would draw the same viewers.
    return place_of(canary_of(model), user_id) < share
