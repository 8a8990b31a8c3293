"""Plots of a run: a line of text for the terminal, and one HTML file that needs nothing else, drawn by uPlot."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.samples import MB, Samples

UPLOT = Path(__file__).resolve().parents[1] / "serving" / "pages" / "vendor" / "uplot"
BARS = "▁▂▃▄▅▆▇█"
COLOURS = ("#3366cc", "#dc3912", "#ff9900", "#109618", "#990099", "#0099c6", "#dd4477", "#66aa00", "#b82e2e", "#316395")


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Return `values` as a line of `width` bars at most, the highest for the largest."""
    parts = [float(np.mean(part)) for part in np.array_split(np.array(values), min(width, len(values)))]
    low, high = min(parts), max(parts)
    return "".join(BARS[int((part - low) / (high - low) * (len(BARS) - 1)) if high > low else 0] for part in parts)


def write(file: Path, samples: Samples, latencies: Mapping[str, Mapping[int, Sequence[float]]], window_s: float) -> None:
    """Write the memory of each process, and the p50 and p99 of each latency by window, as a page."""
    times = sorted({each.at_s for each in samples.all})
    memory = {}
    for name in samples.processes():
        sizes = {each.at_s: each.uss / MB for each in samples.of(name)}
        memory[name] = [sizes.get(at) for at in times]
    windows = sorted({number for of in latencies.values() for number in of})
    percentiles = {
        f"{name} p{share}": [float(np.percentile(of[number], share)) if of.get(number) else None for number in windows]
        for name, of in latencies.items()
        for share in (50, 99)
    }
    plots = [
        _plot("USS of each process, MB", [at / 60 for at in times], memory),
        _plot("latency, ms", [number * window_s / 60 for number in windows], percentiles),
    ]
    _write(file, "soak", plots)


def write_curves(
    file: Path, name: str, curves: Sequence[tuple[str, str, Sequence[float], Mapping[str, Sequence[float | None]]]]
) -> None:
    """Write curves as a page: the title of each, what its x is, the values of x, rising, and the lines over them."""
    _write(file, name, [_plot(title, x, lines, x_label) for title, x_label, x, lines in curves])


def _write(file: Path, name: str, plots: Sequence[dict[str, object]]) -> None:
    style, script = (UPLOT / "uPlot.min.css").read_text(), (UPLOT / "uPlot.esm.js").read_text()
    file.write_text(PAGE % (name, style, script, json.dumps(plots)))


def _plot(
    title: str, x: Sequence[float], lines: Mapping[str, Sequence[float | None]], x_label: str = "minutes"
) -> dict[str, object]:
    series = [{"label": name, "stroke": COLOURS[place % len(COLOURS)]} for place, name in enumerate(lines)]
    return {"title": title, "series": [{"label": x_label}, *series], "data": [list(x), *map(list, lines.values())]}


PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Headwater: %s</title>
<style>%s body { font: 14px system-ui; margin: 2rem }</style>
<body>
<script type="module">
%s
for (const { title, series, data } of %s) {
  const options = { title, series, width: Math.min(1200, innerWidth - 64), height: 420, scales: { x: { time: false } } };
  new uPlot(options, data, document.body);
}
</script>
"""
