"""A comparison as a page: a bar for each recommender with its interval, of all videos and of cold ones."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, select_autoescape

from models.ranking.evaluation.comparison import HEADLINES, Judged

TITLES = {"hr_at_10": "HR@10", "ndcg_at_10": "NDCG@10", "cold_hr_at_10": "HR@10 of cold videos"}


def write(results: Sequence[Judged], into: Path, *, facts: dict[str, str]) -> None:
    """Write the page to `into`: one file that needs no other. `facts` say of what and how it was made."""
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath("page.html.jinja").read_text(encoding="utf-8"))
    figures = {result.name: result.figures() | {"fit_s": result.fit_s} for result in results}
    charts = []
    for figure in HEADLINES:
        widest = max(row[f"{figure}_high"] for row in figures.values()) or 1.0
        ordered = sorted(figures.items(), key=lambda item: -item[1][figure])
        charts.append({"title": TITLES[figure], "figure": figure, "widest": widest, "rows": ordered})
    into.parent.mkdir(parents=True, exist_ok=True)
    into.write_text(template.render(charts=charts, rows=list(figures.items()), facts=facts), encoding="utf-8")
