"""What a place of a page was worth: a reward from what its viewer did, with its parts named."""

from collections.abc import Mapping

# One watched-to-the-end video is the unit. Ratios follow X's For You (like .5, reply 5, share 20, follow 4, not
# interested −43, report −234), cut short at the ends: with its full range a few reports would drown the log.
REWARDS: Mapping[str, float] = {
    "complete": 1.0, "like": 0.5, "comment": 1.0, "share": 2.0, "follow": 2.0, "gift": 2.0,
    "unlike": -0.5, "skip": -0.5, "not_interested": -3.0, "report": -10.0,
}  # fmt: skip


def reward(actions: tuple[str, ...], *, watch_ms: int, duration_ms: int | None) -> tuple[float, dict[str, float]]:
    """Return the reward of one shown video and its parts by name.

    `watch` is the share of the video that was watched, and gives way to `complete`. A place nobody looked at earns 0.
    """
    parts = {action: REWARDS[action] for action in actions if action in REWARDS}
    if "complete" not in parts and watch_ms and duration_ms:
        parts["watch"] = min(1.0, watch_ms / duration_ms)
    return sum(parts.values()), parts
