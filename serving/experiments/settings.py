"""What an experiment is: its arms, whom they are for, what each changes of the feed, and what is compared."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from serving.settings import ColdStartSettings, FeedSettings, ObjectiveSettings, WeightSettings

Metric = Literal["reward", "watch_s", "completes", "likes", "skips", "reports"]
METRICS: tuple[Metric, ...] = get_args(Metric)
LOWER_IS_BETTER: frozenset[Metric] = frozenset({"skips", "reports"})
# It is part of the label on each slate, "experiment=arm,…".
Named = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40)]
_LONGEST_LABEL = 128

# What makes a page, and nothing else: catalogue and shelves are there once, for the pages of all arms.
OPTIONS = frozenset(
    {
        *(f"weights.{name}" for name in WeightSettings.model_fields),
        *(f"objectives.{name}" for name in ObjectiveSettings.model_fields),
        *(f"cold_start.{name}" for name in ColdStartSettings.model_fields if name not in ("impressions", "max_age_h")),
        "author_decay", "author_floor", "author_gap", "mmr_lambda", "mmr_top", "off", "pool_size", "recent_likes", "smoothing",
        "source_size", "unsafe_above",
    }
)  # fmt: skip
# Without these nobody would know what an arm's pages were.
_NEVER_OFF = frozenset({"slate-event", "remember-served"})


class Arm(BaseModel):
    """One arm of an experiment."""

    model_config = ConfigDict(extra="forbid")

    name: Named = Field(description="written on slates and feedback")
    share: float = Field(gt=0, le=1, description="share of all viewers")
    changes: dict[str, Any] = Field(default_factory=dict, description='feed options: { "weights.freshness" = 0.5 }')

    @field_validator("changes")
    @classmethod
    def _changes_fit_a_feed(cls, changes: dict[str, Any]) -> dict[str, Any]:
        flat = dict(_flat(changes))
        for name in flat:
            if name not in OPTIONS:
                close = difflib.get_close_matches(name, OPTIONS, n=1)
                meant = f"did you mean {close[0]}?" if close else f"these may: {', '.join(sorted(OPTIONS))}"
                raise ValueError(f"feed.{name} is no option that may differ by arm; {meant}")
        if lost := _NEVER_OFF & frozenset(flat.get("off", ())):
            raise ValueError(f"off names {', '.join(sorted(lost))}: nobody would know what came of the arm's pages")
        # Its error names the option and what is wrong with it.
        FeedSettings.model_validate(_nested(flat))
        return flat


class Guardrail(BaseModel):
    """What an arm must not cost."""

    model_config = ConfigDict(extra="forbid")

    metric: Metric = Field(description="what must not get worse")
    worse_by: float = Field(gt=0, description="by more than this share of control's: 0.05 is 5 %")


def _guardrails() -> list[Guardrail]:
    return [Guardrail(metric="reports", worse_by=0.2), Guardrail(metric="skips", worse_by=0.05)]


class Experiment(BaseModel):
    """Viewers in arms; the first arm is the control, with which the others are compared."""

    model_config = ConfigDict(extra="forbid")

    name: Named = Field(description="viewers are drawn by it: under another name, it is another draw")
    arms: list[Arm] = Field(min_length=2, max_length=8)
    metric: Metric = Field("reward", description="what decides, per impression")
    since: AwareDatetime | None = Field(
        None, description="pages served before do not count; without it a node reads 30 days of feedback at its start"
    )
    guardrails: list[Guardrail] = Field(default_factory=_guardrails)

    @model_validator(mode="after")
    def _arms_share_viewers(self) -> Self:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError(f"experiment {self.name}: two arms have one name: {', '.join(names)}")
        total = sum(arm.share for arm in self.arms)
        if total > 1 + 1e-9:
            raise ValueError(f"experiment {self.name}: the shares of its arms add up to {total:g}, at most 1 is there")
        return self


class ExperimentSettings(BaseModel):
    """Experiments: viewers whose pages are made by other options of the feed, and what came of it (`docs/experiments.md`)."""

    running: list[Experiment] = Field(
        default_factory=list,
        description='each is { name = "…", arms = [{ name = "control", share = 0.5 }, { name = "…", share = 0.5, changes = { '
        '"weights.freshness" = 0.5 } }] }, and may have a metric, guardrails, and since when it counts',
    )
    alpha: float = Field(
        0.05, gt=0, le=0.5, description="how often an arm that changes nothing may be said to differ, however often one looks"
    )
    viewers_in_memory: int = Field(
        200_000, ge=1, description="viewers whose outcomes each node holds per experiment, 300 bytes each; others do not count"
    )

    @model_validator(mode="after")
    def _experiments_are_apart(self) -> Self:
        names = [experiment.name for experiment in self.running]
        if len(set(names)) < len(names):
            raise ValueError(f"two experiments have one name: {', '.join(names)}")
        changed: dict[str, str] = {}
        for experiment in self.running:
            for option in {option for arm in experiment.arms for option in arm.changes}:
                if other := changed.get(option):
                    raise ValueError(f"feed.{option} is changed by {other} and by {experiment.name}: by one at a time")
                changed[option] = experiment.name
        longest = ",".join(f"{each.name}={max((arm.name for arm in each.arms), key=len)}" for each in self.running)
        if len(longest) > _LONGEST_LABEL:
            raise ValueError(f"the label {longest!r} would have {len(longest)} characters, at most {_LONGEST_LABEL} fit")
        return self


def since_ms(experiments: Iterable[Experiment]) -> int | None:
    """Return since when pages count for any of `experiments`, Unix ms; None: from the beginning."""
    since = [experiment.since for experiment in experiments]
    known = [int(at.timestamp() * 1000) for at in since if at is not None]
    return min(known) if known and len(known) == len(since) else None


def feed_of(feed: FeedSettings, arms: Iterable[Arm]) -> FeedSettings:
    """Return the settings of the feed with what `arms` change."""
    changes = {name: value for arm in arms for name, value in arm.changes.items()}
    changed = FeedSettings.model_validate(_merged(feed.model_dump(), _nested(changes)))
    # What is off for all is not on for some.
    return changed.model_copy(update={"off": feed.off | changed.off})


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *tables, last = name.split(".")
        inner = nested
        for table in tables:
            inner = inner.setdefault(table, {})
        inner[last] = value
    return nested


def _merged(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    inner = {name: _merged(table[name], value) if isinstance(value, dict) else value for name, value in changes.items()}
    return {**table, **inner}
