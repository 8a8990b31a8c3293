"""What every bench says at its end: the machine, a table against the budget, a histogram, and one line of JSON."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

console = Console()


def machine() -> str:
    """Return what this ran on, in words."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    cores = len(os.sched_getaffinity(0))
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    return f"{cores} cores of {model}, {memory:.0f} GiB, Python {platform.python_version()}, load {load:.1f} before the start"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0..100) of `values` lie; NaN where there are none."""
    return round(float(np.percentile(values, share)), 2) if values else float("nan")


def histogram(values: Sequence[float], *, unit: str, bins: int = 12) -> None:
    """Print how `values` are spread, on a logarithmic scale."""
    if not values:
        return
    low, high = max(min(values), 1e-3), max(max(values), 2e-3)
    counts, edges = np.histogram(values, bins=np.geomspace(low * 0.999, high * 1.001, bins + 1))
    for count, left, right in zip(counts, edges, edges[1:], strict=False):
        console.print(f"{left:9.2f} – {right:9.2f} {unit} {'█' * round(50 * count / counts.max())} {count}")


def finish(
    bench: str, figures: Mapping[str, float | dict[str, float]], *, budgets: Mapping[str, str], facts: Mapping[str, object]
) -> None:
    """Print the table and, as the last line, one line of JSON: the bench's name, its figures, and the `facts` behind them."""
    table = Table("figure", "measured", "budget", title=bench)
    for name, value in figures.items():
        if isinstance(value, dict):
            for part, of_part in value.items():
                table.add_row(f"{name}: {part}", f"{of_part:,}")
        else:
            table.add_row(name, f"{value:,}", budgets.get(name, ""))
    console.print(table)
    for name, fact in facts.items():
        console.print(f"[dim]{name}: {fact}[/dim]")
    # JSON has no NaN: what could not be measured is null.
    known = {name: None if value != value else value for name, value in figures.items()}
    print(json.dumps({"bench": bench} | known | dict(facts), ensure_ascii=False), flush=True)
