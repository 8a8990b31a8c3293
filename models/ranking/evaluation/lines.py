"""Lines over time, as what a page draws: places in an SVG, and where each line's name stands without lying on another's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from models.ranking.evaluation.prequential import Replayed

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 44, 124, 10, 24
APART = 13.0
# Of the watches of a replay: fewer hide what changes, more draw noise.
PARTS = 12
# Apart for most who see colours otherwise too (Okabe and Ito).
COLOURS = ("#2f8f5b", "#0072b2", "#d55e00", "#cc79a7", "#b8860b", "#56b4e9", "#7f7f7f", "#8c564b", "#6a3d9a", "#e31a1c")


@dataclass(frozen=True)
class Lines:
    """A chart: the lines as (name, points, colour, where the name stands), `ticks` and `labels` as (place, text)."""

    title: str
    lines: tuple[tuple[str, str, str, float], ...]
    ticks: tuple[tuple[float, str], ...]
    labels: tuple[tuple[float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT


def over_time(results: Sequence[Replayed]) -> Lines:
    """Return NDCG@10 of each result over as many watches at a time."""
    parts = {result.name: result.over_time(PARTS) for result in results}
    along = [datetime.fromtimestamp(at / 1000, UTC).date().isoformat() for at, _ in parts[results[0].name]]
    return lines("NDCG@10 over time", {name: [value for _, value in of] for name, of in parts.items()}, along)


def lines(title: str, values: Mapping[str, Sequence[float]], along: Sequence[str]) -> Lines:
    """Return a chart of one value of each line at each of the places `along`, evenly apart."""
    highest = max((value for line in values.values() for value in line), default=0.0) or 1.0
    step = (WIDTH - LEFT - RIGHT) / max(1, len(along) - 1)

    def down(value: float) -> float:
        return round(TOP + (1 - value / highest) * (HEIGHT - TOP - BOTTOM), 1)

    names = _spread({name: down(line[-1]) for name, line in values.items()})
    drawn = tuple(
        (name, " ".join(f"{LEFT + at * step:.1f},{down(value)}" for at, value in enumerate(line)), colour, names[name])
        for (name, line), colour in zip(values.items(), COLOURS * len(values), strict=False)
    )
    ticks = tuple((down(highest * part / 4), f"{highest * part / 4:.3f}") for part in range(5))
    every = -(-len(along) // 8)
    labels = tuple((round(LEFT + at * step, 1), text) for at, text in enumerate(along) if at % every == 0)
    return Lines(title, drawn, ticks, labels)


def _spread(places: Mapping[str, float]) -> dict[str, float]:
    """Return places in the same order, none nearer to the next than a line of text."""
    spread: dict[str, float] = {}
    last = HEIGHT - BOTTOM + APART
    for name, place in sorted(places.items(), key=lambda item: -item[1]):
        last = spread[name] = min(place, last - APART)
    return spread
