"""Which viewer is in which arm: by a hash of the experiment's name and the viewer's id, the same on every node and for good."""

from bisect import bisect_right
from collections.abc import Sequence

from serving.experiments.settings import Experiment
from streams.draw import place_of

# The arms of a viewer, one an experiment in the order of the settings; None: in none of its arms.
Arms = tuple[int | None, ...]
_OUTSIDE = -1


class Assignment:
    """Puts viewers into the arms of every experiment, each drawn apart from the others."""

    def __init__(self, experiments: Sequence[Experiment]) -> None:
        self._experiments = experiments
        self._layouts = [layout([arm.share for arm in experiment.arms]) for experiment in experiments]

    def arms_of(self, user_id: str) -> Arms:
        """Return the viewer's arms."""
        found = []
        for experiment, (bounds, arms) in zip(self._experiments, self._layouts, strict=True):
            arm = arms[bisect_right(bounds, place_of(experiment.name, user_id)) - 1]
            found.append(None if arm == _OUTSIDE else arm)
        return tuple(found)

    def label(self, arms: Arms) -> str:
        """Return the arms as slates tell of them: "experiment=arm,…"; "control" for a viewer in no experiment."""
        pairs = zip(self._experiments, arms, strict=True)
        named = [f"{experiment.name}={experiment.arms[arm].name}" for experiment, arm in pairs if arm is not None]
        return ",".join(named) or "control"


def labelled(label: str) -> dict[str, str]:
    """Return the arms by experiment that a slate's label names."""
    parts = (part.partition("=") for part in label.split(","))
    return {experiment: arm for experiment, sign, arm in parts if sign}


def layout(shares: Sequence[float]) -> tuple[list[float], list[int]]:
    """Return where stretches of [0, 1) begin, and whose arm each is; -1: nobody's.

    Each arm has its even part of all places and fills it from its beginning; one that is larger takes what others leave, from
    the end. So an arm that grows at the cost of those in no arm takes nobody from another: with two arms always, with more as
    long as none is larger than its even part. No layout does that for all shares of three arms or more.
    """
    part = 1.0 / len(shares)
    stretches: list[tuple[float, int]] = []
    # What is more than the even part, by arm.
    over = [[arm, share - part] for arm, share in enumerate(shares) if share > part]
    for slot in reversed(range(len(shares))):
        begin, end = slot * part, (slot + 1) * part
        free_from = begin + min(shares[slot], part)
        while over and free_from < end:
            arm, left = over[0]
            taken = min(left, end - free_from)
            end -= taken
            stretches.append((end, int(arm)))
            over[0][1] -= taken
            if over[0][1] <= 1e-12:
                over.pop(0)
        if free_from < end:
            stretches.append((free_from, _OUTSIDE))
        stretches.append((begin, slot))
    stretches.sort(key=lambda stretch: stretch[0])
    return [begin for begin, _ in stretches], [arm for _, arm in stretches]
