"""Estimates of other policies' values as a page: a dot and its interval for each estimator, and how far to trust them."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, select_autoescape

from models.ranking.evaluation.off_policy import Estimate, Value


def write(estimates: Mapping[str, Estimate], into: Path, *, logged: float, choices: int, facts: Mapping[str, str]) -> None:
    """Write the page to `into`: one file that needs no other.

    Args:
        logged: the mean reward of the log, and `choices` how many there are in it.
        facts: of what and how it was made.
    """
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath("off_policy.html.jinja").read_text(encoding="utf-8"))
    told = [number for each in estimates.values() for value in (each.ips, each.snips, each.dr) for number in _numbers(value)]
    low, high = min([logged, *told]), max([logged, *told])
    margin = 0.05 * (high - low) or 1.0

    def place(number: float) -> float:
        return round(100 * (number - low + margin) / (high - low + 2 * margin), 2)

    page = template.render(
        estimates=estimates, logged=logged, choices=choices, facts=facts, place=place, words=words
    )  # fmt: skip
    into.parent.mkdir(parents=True, exist_ok=True)
    into.write_text(page, encoding="utf-8")


def words(value: Value) -> str:
    """Return a value with its interval, as tables show it."""
    if value.mean is None:
        return "nothing tells"
    if value.low is None or value.high is None:
        return f"{value.mean:.4f}"
    return f"{value.mean:.4f} ({value.low:.4f} to {value.high:.4f})"


def _numbers(value: Value) -> list[float]:
    return [number for number in (value.mean, value.low, value.high) if number is not None]
