"""What the operator's page is told of experiments."""

from typing import Literal

from msgspec import Struct

Tone = Literal["good", "warn", "bad", "off"]


class MeasuredView(Struct, frozen=True, kw_only=True):
    """One metric of one arm, per impression; `difference` to control and the ends of its interval, always valid.

    All three are None for control, and until enough is known. `guardrail`: empty where there is none, "open" while it is not
    known whether it is kept, else "kept" or "broken"; `worse_by` is the share by which the metric may be worse.
    """

    metric: str
    value: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    worse_by: float | None = None
    guardrail: Literal["", "open", "kept", "broken"] = ""


class ArmView(Struct, frozen=True, kw_only=True):
    """One arm, what its viewers did, and what may be said of it; control has no verdict."""

    name: str
    share: float
    viewers: int
    impressions: int
    metrics: list[MeasuredView]
    tone: Tone = "off"
    verdict: str = ""


class ExperimentView(Struct, frozen=True, kw_only=True):
    """One experiment, control first among its arms.

    `mismatch`: the arms' sizes do not fit their shares, so something other than chance decided who is counted. `moved` viewers
    changed arms and `left_out` pages were of viewers who came when memory was full: neither counts.
    """

    name: str
    metric: str
    alpha: float
    arms: list[ArmView]
    mismatch: bool
    moved: int
    left_out: int
