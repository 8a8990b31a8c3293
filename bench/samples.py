"""What a house costs while it runs: the memory and CPU of each of its processes, sampled, and how their memory grows."""

import csv
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from scipy.stats import theilslopes

from bench.house import Up

EVERY_S = 10.0
MB = 2**20


@dataclass(frozen=True)
class Sample:
    """One look at one process and its helpers. `uss` is what would be free if it ended; shared pages count in `rss` only."""

    at_s: float
    process: str
    uss: int
    rss: int
    cpu_s: float


@dataclass
class Samples:
    """All looks, in order of time since the first."""

    all: list[Sample] = field(default_factory=list)

    def of(self, process: str) -> list[Sample]:
        """Return the looks at one process."""
        return [sample for sample in self.all if sample.process == process]

    def processes(self) -> list[str]:
        """Return the names of all processes that were seen."""
        return sorted({sample.process for sample in self.all})

    def write(self, file: Path) -> None:
        """Write all of it as CSV."""
        with file.open("w", newline="") as out:
            rows = csv.writer(out)
            rows.writerow(["seconds", "process", "uss_mb", "rss_mb", "cpu_s"])
            for each in self.all:
                rows.writerow([f"{each.at_s:.1f}", each.process, f"{each.uss / MB:.2f}", f"{each.rss / MB:.2f}", each.cpu_s])


@contextmanager
def sampled(house: Up, *, every_s: float = EVERY_S) -> Iterator[Samples]:
    """Sample the house's processes on a thread of its own while the block runs."""
    samples, stopping, began = Samples(), threading.Event(), time.monotonic()

    def sample() -> None:
        while not stopping.wait(every_s):
            samples.all += look(house, at_s=time.monotonic() - began)

    thread = threading.Thread(target=sample, name="samples", daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stopping.set()
        thread.join(10.0)


def look(house: Up, *, at_s: float = 0.0) -> list[Sample]:
    """Look once at each process."""
    found = []
    for name, family in house.families().items():
        uss = rss = 0
        cpu_s = 0.0
        for process in family:
            with suppress(psutil.NoSuchProcess):
                memory, cpu = process.memory_full_info(), process.cpu_times()
                uss, rss, cpu_s = uss + memory.uss, rss + memory.rss, cpu_s + cpu.user + cpu.system
        found.append(Sample(at_s, name, uss, rss, round(cpu_s, 2)))
    return found


def cores(before: Sequence[Sample], after: Sequence[Sample], seconds: float) -> dict[str, float]:
    """Return the share of a core that each process used between two looks that lie `seconds` apart."""
    used = {sample.process: sample.cpu_s for sample in before}
    return {each.process: round((each.cpu_s - used.get(each.process, 0.0)) / seconds, 3) for each in after}


def growth_mb_per_h(samples: Sequence[Sample]) -> tuple[float, float]:
    """Return the growth of `uss` in MB an hour and the lower end of its 95% interval, by Theil and Sen's estimator.

    The median of the slopes between all pairs: a burst, which a fitted line would follow, moves it little.
    """
    if len(samples) < 3:
        return float("nan"), float("nan")
    slope, _, low, _ = theilslopes([each.uss / MB for each in samples], [each.at_s / 3600 for each in samples])
    return round(float(slope), 2), round(float(low), 2)


def by_window(values: Sequence[tuple[float, float]], window_s: float) -> Mapping[int, list[float]]:
    """Return the values of each window, given (seconds, value) pairs."""
    windows: defaultdict[int, list[float]] = defaultdict(list)
    for at_s, value in values:
        windows[int(at_s // window_s)].append(value)
    return dict(sorted(windows.items()))
