"""What may be said of an experiment: its arms against control, guardrails, and a verdict in words."""

from collections.abc import Sequence
from typing import Literal

from serving.experiments.confidence import Interval, Totals, compared, sample_ratio_p
from serving.experiments.settings import LOWER_IS_BETTER, METRICS, Experiment, Guardrail, Metric
from serving.experiments.tally import Tally
from serving.experiments.view import ArmView, ExperimentView, MeasuredView, Tone

# What the intervals stand on, the central limit theorem, needs so many viewers in each arm; more only makes one wait.
VIEWERS_FLOOR = 100
# How often arms of the right sizes may be said to be of wrong ones: an alarm here puts all else in doubt.
_MISMATCH_ALPHA = 0.001

_WORDS: dict[Metric, str] = {
    "reward": "reward", "watch_s": "watch time", "completes": "completes", "likes": "likes", "skips": "skips",
    "reports": "reports",
}  # fmt: skip
_ONE = frozenset({"reward", "watch_s"})


def analysed(tally: Tally, alpha: float) -> ExperimentView:
    """Return what may be said of the experiment now. Each arm but control is a chance to be wrong, and they share `alpha`."""
    experiment = tally.experiment
    totals = [tally.totals(arm) for arm in range(len(experiment.arms))]
    viewers = [of_arm[0].viewers for of_arm in totals]
    mismatch = sample_ratio_p(viewers, [arm.share for arm in experiment.arms]) < _MISMATCH_ALPHA
    each = alpha / (len(experiment.arms) - 1)
    arms = []
    for number, arm in enumerate(experiment.arms):
        ours, control = totals[number], totals[0]
        fewest = min(viewers[number], viewers[0])
        metrics = _control(control) if number == 0 else _treated(experiment, ours, control, alpha=each, fewest=fewest)
        tone: Tone = "off"
        verdict = ""
        if number:
            tone, verdict = _verdict(experiment, arm.name, metrics, control, fewest, mismatch)
        arms.append(
            ArmView(
                name=arm.name,
                share=arm.share,
                viewers=viewers[number],
                impressions=int(ours[0].m),
                metrics=metrics,
                tone=tone,
                verdict=verdict,
            )
        )
    return ExperimentView(
        name=experiment.name,
        metric=experiment.metric,
        alpha=alpha,
        arms=arms,
        mismatch=mismatch,
        moved=tally.moved,
        left_out=tally.left_out,
    )


def _control(totals: Sequence[Totals]) -> list[MeasuredView]:
    return [MeasuredView(metric=metric, value=_mean(of)) for metric, of in zip(METRICS, totals, strict=True)]


def _treated(
    experiment: Experiment, ours: Sequence[Totals], control: Sequence[Totals], *, alpha: float, fewest: int
) -> list[MeasuredView]:
    guardrails = {guardrail.metric: guardrail for guardrail in experiment.guardrails}
    metrics = []
    for metric, mine, theirs in zip(METRICS, ours, control, strict=True):
        enough = fewest >= VIEWERS_FLOOR
        interval = compared(mine, theirs, alpha=alpha) if enough else None
        difference, low, high = (None, None, None) if interval is None else (interval.difference, interval.low, interval.high)
        guardrail = guardrails.get(metric)
        metrics.append(
            MeasuredView(
                metric=metric,
                value=_mean(mine),
                difference=difference,
                low=low,
                high=high,
                worse_by=None if guardrail is None else guardrail.worse_by,
                guardrail="" if guardrail is None else _guarded(guardrail, mine, theirs, alpha) if enough else "open",
            )
        )
    return metrics


def _guarded(guardrail: Guardrail, ours: Totals, control: Totals, alpha: float) -> Literal["open", "kept", "broken"]:
    """Return whether a metric is worse than control's by more than the guardrail's share, as far as is known."""
    lower = guardrail.metric in LOWER_IS_BETTER
    # A reward may be below 0: worse is then farther from it.
    grows = lower or control.mean < 0
    beyond = compared(ours, control, alpha=alpha, times=1.0 + guardrail.worse_by if grows else 1.0 - guardrail.worse_by)
    if beyond is None:
        return "open"
    if lower:
        beyond = Interval(-beyond.difference, -beyond.high, -beyond.low)
    return "broken" if beyond.high < 0 else "kept" if beyond.low > 0 else "open"


def _verdict(
    experiment: Experiment, arm: str, metrics: Sequence[MeasuredView], control: Sequence[Totals], fewest: int, mismatch: bool
) -> tuple[Tone, str]:
    if mismatch:
        return "bad", "The arms' sizes do not fit their shares: it was not chance alone who is counted, so trust no difference."
    if fewest < VIEWERS_FLOOR:
        return "off", f"Too few viewers yet: {fewest} of the {VIEWERS_FLOOR} that each arm needs."
    broken = [each for each in metrics if each.guardrail == "broken"]
    if broken:
        worse = ", ".join(
            f"{_words(each, verb=True)} worse than control's by more than {100 * (each.worse_by or 0.0):.3g}%"
            for each in broken
        )
        return "bad", f"Guardrail broken: stop {arm}. {worse[0].upper()}{worse[1:]}."
    which = METRICS.index(experiment.metric)
    decides = metrics[which]
    if decides.difference is None or decides.low is None or decides.high is None:
        return "off", "No difference seen yet: nothing varies."
    seen = f"{_words(decides)} {_change(decides, control[which].mean)}"
    if decides.low <= 0 <= decides.high:
        return "off", f"No difference seen yet: {seen}."
    if (decides.difference > 0) == (experiment.metric in LOWER_IS_BETTER):
        return "warn", f"{arm} is worse: {seen}."
    unknown = ", ".join(_words(each) for each in metrics if each.guardrail == "open")
    return "good", f"{arm} is better: {seen}." + (
        f" Not known yet: whether its guardrails hold ({unknown})." if unknown else ""
    )


def _change(measured: MeasuredView, control: float) -> str:
    """Return a difference with its interval, in per cent of control's mean where it has one."""
    low, middle, high = (float(end or 0.0) for end in (measured.low, measured.difference, measured.high))
    if control:
        low, high = sorted((low / abs(control), high / abs(control)))
        return f"{middle / abs(control):+.1%} ({low:+.1%} to {high:+.1%})"
    return f"{middle:+.3g} ({low:+.3g} to {high:+.3g})"


def _words(measured: MeasuredView, *, verb: bool = False) -> str:
    words = next(words for metric, words in _WORDS.items() if metric == measured.metric)
    return f"{words} {'is' if measured.metric in _ONE else 'are'}" if verb else words


def _mean(totals: Totals) -> float | None:
    return totals.mean if totals.m else None
