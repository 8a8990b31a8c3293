"""A clock that is set back is noticed; one that is set ahead, slewed, or leaps a second is nothing to speak of."""

from streams.flows.clock_watch import ClockWatch


class Times:
    def __init__(self) -> None:
        self.day_ms, self.monotonic_s = 1_790_000_000_000, 100.0

    def pass_s(self, seconds: float, *, set_ms: int = 0) -> None:
        self.day_ms += int(seconds * 1000) + set_ms
        self.monotonic_s += seconds

    def watch(self) -> ClockWatch:
        return ClockWatch(clock=lambda: self.day_ms, monotonic=lambda: self.monotonic_s)


def test_a_clock_set_back_is_told_once() -> None:
    times = Times()
    watch = times.watch()
    times.pass_s(1.0, set_ms=-3_600_000)
    assert watch.set_back_ms() == 3_600_000
    times.pass_s(1.0)
    assert watch.set_back_ms() == 0


def test_time_that_passes_or_is_set_ahead_is_no_news() -> None:
    times = Times()
    watch = times.watch()
    for seconds, set_ms in ((1.0, 0), (3600.0, 0), (1.0, 3_600_000), (1.0, -1000)):
        times.pass_s(seconds, set_ms=set_ms)
        assert watch.set_back_ms() == 0
