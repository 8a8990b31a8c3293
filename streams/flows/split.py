"""One stream of several kinds of items into one stream a kind."""

from typing import Any, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Stream

T = TypeVar("T")


def split(step: str, items: Stream[Any], kind: type[T]) -> tuple[Stream[T], Stream[Any]]:
    """Return the items of exactly `kind`, and the others."""
    branches = op.branch(step, items, lambda item: type(item) is kind)
    return branches.trues, branches.falses
