"""A comparison as a page: a bar for each recommender with its interval, and, of a replay, each one's line over time."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from jinja2 import Environment, select_autoescape

from models.ranking.evaluation.comparison import HEADLINES
from models.ranking.evaluation.lines import Lines

LEAVE_ONE_OUT = (
    "Each viewer's last watch is looked for among all videos, by what was watched before it. "
    "A cold video had five watches at most before the cut."
)
REPLAYED = (
    "Every watch is looked for among all videos before it is learned from. A cold video had five watches at most by then."
)
TITLES = {"hr_at_10": "HR@10", "ndcg_at_10": "NDCG@10", "cold_hr_at_10": "HR@10 of cold videos"}


class Result(Protocol):
    """One recommender's figures, with the ends of the intervals of those that head a table."""

    @property
    def name(self) -> str: ...

    @property
    def fit_s(self) -> float: ...

    def figures(self) -> dict[str, float]: ...


def write(
    results: Sequence[Result],
    into: Path,
    *,
    facts: Mapping[str, str],
    ours: str,
    protocol: str = LEAVE_ONE_OUT,
    lines: Sequence[Lines] = (),
) -> None:
    """Write the page to `into`: one file that needs no other.

    `facts` say of what and how it was made, `protocol` what was asked, `ours` which is ours; `lines` are drawn below the bars.
    """
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath("page.html.jinja").read_text(encoding="utf-8"))
    figures = {result.name: result.figures() | {"fit_s": result.fit_s} for result in results}
    charts = []
    for figure in HEADLINES:
        widest = max(row[f"{figure}_high"] for row in figures.values()) or 1.0
        ordered = sorted(figures.items(), key=lambda item: -item[1][figure])
        charts.append({"title": TITLES[figure], "figure": figure, "widest": widest, "rows": ordered})
    into.parent.mkdir(parents=True, exist_ok=True)
    rows = list(figures.items())
    page = template.render(charts=charts, rows=rows, facts=facts, ours=ours, protocol=protocol, lines=lines)
    into.write_text(page, encoding="utf-8")
