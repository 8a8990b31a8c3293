"""What deciders did, as one table of numbers for the terminal, the page and JSON: by segment, and over those compared with."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, select_autoescape

from models.ranking.evaluation.lines import Lines, lines
from models.viewers.evaluation.judging import ALL, SEGMENTS, Figure, Judged

# A row of the report: by segment, or by who it is compared with, each figure as (value, low, high).
Row = dict[str, Any]

TITLES = {
    "one_of_4": "1 of 4",
    "one_of_5": "1 of 5",
    "yes_no": "yes or no, from .5 on",
    "yes_no_tuned": "yes or no, from the threshold learned on other viewers",
    "wanted_likelier": "wanted the likelier of the two",
}
# What is drawn by how many videos are known of a viewer.
BY_KNOWN = ("one_of_4", "wanted_likelier")


def rows(
    judged: Sequence[Judged],
    *,
    compared_with: Sequence[str],
    counts: Mapping[str, Mapping[str, float]] | None = None,
    seed: int = 0,
) -> dict[str, Row]:
    """Return a row for each: its figures by segment, over the others of the names `compared_with`, and its `counts`."""
    named = {each.name: each for each in judged}
    others = [named[name] for name in compared_with if name in named]
    return {
        each.name: {
            "threshold": round(each.threshold, 5),
            "took_s": round(each.took_s, 1),
            **(counts or {}).get(each.name, {}),
            "segments": {
                name: {"viewers": len(set(each.whose.viewers[among].tolist())), **_told(each.figures(among, seed=seed))}
                for name, among in each.whose.segments().items()
                if among.any()
            },
            "over": {other.name: _told(each.over(other, seed=seed)) for other in others if other is not each},
        }
        for each in judged
    }


def by_known(rows: Mapping[str, Row]) -> list[Lines]:
    """Return a chart for each of `BY_KNOWN`, of the segments that have viewers."""
    along = [name for name, *_ in SEGMENTS if all(name in row["segments"] for row in rows.values())]
    if len(along) < 2:
        return []
    return [
        lines(
            f"{TITLES[figure]}, by how many videos are known",
            {name: [row["segments"][each][figure][0] for each in along] for name, row in rows.items()},
            along,
        )
        for figure in BY_KNOWN
    ]


def write(rows: Mapping[str, Row], into: Path, *, facts: Mapping[str, str], ours: Sequence[str]) -> None:
    """Write the page to `into`: one file that needs no other. `facts` say of what and how it was made."""
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath("page.html.jinja").read_text(encoding="utf-8"))
    ordered = sorted(rows.items(), key=lambda row: -row[1]["segments"][ALL]["one_of_4"][0])
    into.parent.mkdir(parents=True, exist_ok=True)
    page = template.render(rows=dict(ordered), facts=facts, ours=ours, titles=TITLES, lines=by_known(rows), all=ALL)
    into.write_text(page, encoding="utf-8")


def _told(figures: Mapping[str, Figure]) -> dict[str, tuple[float, float, float]]:
    return {name: (round(of.value, 4), round(of.low, 4), round(of.high, 4)) for name, of in figures.items()}
