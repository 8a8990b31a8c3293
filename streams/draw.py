"""Draws among viewers that need no memory: the same on every machine and for good, so that a viewer stays where they are."""

from hashlib import blake2b


def place_of(draw: str, user_id: str) -> float:
    """Return a viewer's place in [0, 1): of a draw's viewers evenly spread, and unlike that in any other draw."""
    digest = blake2b(f"{draw}\0{user_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53
