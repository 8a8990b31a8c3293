"""Lag, rates, exposure, rings and the feed's last seconds, without servers."""

import numpy as np
import pytest

from serving.feed.fairness.gini import gini
from serving.feed.page import StageTrace
from serving.ops.feed_window import FeedWindow
from serving.ops.offsets import Offsets
from serving.ops.processes import Processes
from serving.ops.ring import Rings
from streams.events import Heartbeat, Supervised

NOW = 1_800_000_000_000


def offsets(ends: int, *, oldest: int = 0, now_ms: int = NOW) -> Offsets:
    known = Offsets()
    known.take({"interactions": {0: ends}}, {"interactions": {0: oldest}}, now_ms=now_ms)
    return known


def beat(process: str = "flow-profile", *, at: int = NOW, position: int = 0, pid: int = 1, **more) -> Heartbeat:
    return Heartbeat(
        process=process, instance=f"host:{pid}", started_at=more.pop("started_at", NOW - 60_000), at=at,
        positions={"interactions": {"0": position}}, **more,
    )  # fmt: skip


def supervisor(*children: Supervised, at: int = NOW) -> Heartbeat:
    return Heartbeat(process="supervisor", instance="host:9", started_at=NOW - 60_000, at=at, children=children)


def profile_of(processes: Processes, known: Offsets, now_ms: int = NOW):
    return next(flow for flow in processes.flows(now_ms, known, {"profile": 2}) if flow.name == "profile")


# ── lag ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_lag_is_what_lies_beyond_a_flows_position():
    assert offsets(100).behind(["interactions"], {"interactions": {"0": 40}}) == 60
    assert offsets(100).behind(["interactions"], {"interactions": {"0": 100}}) == 0


def test_a_partition_without_a_position_is_behind_by_all_that_is_still_there():
    assert offsets(100, oldest=30).behind(["interactions"], {}) == 70


def test_who_keeps_up_is_not_behind_by_what_came_since_its_last_word():
    known = offsets(100, now_ms=NOW - 800)
    known.take({"interactions": {0: 2_100}}, {}, now_ms=NOW + 200)
    processes = Processes()
    processes.take(beat(position=100), NOW)
    assert profile_of(processes, known, NOW + 300).lag_events == 0
    # One that is not heard any more is behind by all of it.
    assert profile_of(processes, known, NOW + 3_000).lag_events == 2_000


def test_a_flow_that_beats_and_takes_nothing_is_behind():
    known, processes = offsets(500, now_ms=NOW - 100), Processes()
    processes.take(beat(position=100), NOW)
    flow = profile_of(processes, known)
    assert (flow.state, flow.lag_events) == ("running", 400)


# ── flows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_flow_that_is_not_heard_is_silent_and_every_flow_is_listed():
    processes = Processes()
    processes.take(beat(freshness_ms=(8.0, 20.0), rss_bytes=7, cpu_share=0.5), NOW)
    flow = profile_of(processes, Offsets(), NOW + 6_000)
    assert (flow.state, flow.silent_s, flow.up_s, flow.cpu_share) == ("silent", 6.0, 0.0, 0.0)
    assert flow.dead_letters == 2
    others = processes.flows(NOW, Offsets(), {})
    assert [(flow.name, flow.state) for flow in others if flow.name != "profile"] == [
        ("perceive", "silent"), ("rerank", "silent"), ("feedback", "silent"),
    ]  # fmt: skip


def test_a_flow_that_its_supervisor_starts_again_is_restarting_until_it_is_heard():
    processes = Processes()
    processes.take(beat(), NOW)
    ended = Supervised(name="flow-profile", running=False, last_status=-9)
    processes.take(supervisor(ended), NOW + 100)
    assert profile_of(processes, Offsets(), NOW + 200).state == "restarting"
    again = Supervised(name="flow-profile", pid=2, restarts=1, last_status=-9, started_at=NOW + 600)
    processes.take(supervisor(again, at=NOW + 1_100), NOW + 1_100)
    assert profile_of(processes, Offsets(), NOW + 1_200).state == "restarting"
    processes.take(beat(at=NOW + 2_000, pid=2, started_at=NOW + 700), NOW + 2_000)
    flow = profile_of(processes, Offsets(), NOW + 2_100)
    assert (flow.state, flow.restarts) == ("running", 1)


def test_without_a_supervisor_new_instances_are_restarts():
    processes = Processes()
    processes.take(beat(), NOW)
    processes.take(beat(at=NOW + 5_000, pid=2, started_at=NOW + 4_000), NOW + 5_000)
    # The last word of the one before, which comes late, is nobody's.
    processes.take(beat(at=NOW + 5_100, position=1), NOW + 5_100)
    assert profile_of(processes, Offsets(), NOW + 5_200).restarts == 1
    assert profile_of(processes, offsets(10), NOW + 5_200).lag_events == 10
    assert processes.supervised(NOW) is None


def test_a_flows_rate_and_freshness_are_of_the_last_seconds():
    processes = Processes()
    for second in range(5):
        processes.take(beat(at=NOW + second * 1000, events={"interactions": 200}), NOW + second * 1000)
    assert profile_of(processes, Offsets(), NOW + 4_000).events_per_s == pytest.approx(200.0)
    processes.take(beat(at=NOW + 5_000, freshness_ms=(8.0, 20.0)), NOW + 5_000)
    processes.take(beat(at=NOW + 6_000), NOW + 6_000)
    flow = profile_of(processes, Offsets(), NOW + 6_000)
    assert (flow.freshness_p50_ms, flow.freshness_p99_ms) == (8.0, 20.0)
    assert profile_of(processes, Offsets(), NOW + 30_000).freshness_p50_ms is None


def test_processes_without_end_do_not_fill_the_memory():
    processes = Processes()
    for number in range(1_000):
        processes.take(beat(f"flow-{number}"), NOW)
    assert len(processes.newest(NOW)) == 64
    processes.take(beat("flow-new"), NOW + 4_000_000)
    assert list(processes.newest(NOW + 4_000_000)) == ["flow-new"]


# ── rates ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_topics_rate_is_what_its_end_moved():
    known = Offsets()
    for second in range(8):
        known.take({"interactions": {0: 100 * second, 1: 0}}, {}, now_ms=NOW + second * 1000)
    assert known.rates(now_ms=NOW + 7_000) == {"interactions": 100.0}
    # A topic that was made anew counts from 0 again.
    known.take({"interactions": {0: 3}}, {}, now_ms=NOW + 8_000)
    assert known.rates(now_ms=NOW + 8_000) == {"interactions": 0.0}


# ── exposure ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_gini_is_0_where_all_are_equal_and_near_1_where_one_has_all():
    assert gini(np.full(50, 3.0)) == pytest.approx(0.0)
    assert gini(np.array([0.0] * 99 + [5.0])) == pytest.approx(0.99)
    assert gini(np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(0.25)
    assert gini(np.zeros(4)) is None
    assert gini(np.zeros(0)) is None


def test_the_catalogue_is_told_of_with_its_new_videos_and_authors(world):
    world.put_stats("cooking-0", impressions=30.0, likes=3.0, total_impressions=30)
    catalogue = world.node.ops.tick({}).view.catalogue
    assert (catalogue.videos, catalogue.authors, catalogue.new_videos) == (60, 20, 60)
    assert catalogue.exposure_gini == pytest.approx(0.95)
    assert sum(bucket.videos for bucket in catalogue.ages) == 60
    assert len(catalogue.newest) == 20
    shown = next(new for new in catalogue.newest if new.video_id == "cooking-0")
    assert (shown.impressions, shown.budget, shown.stage) == (30, 200, "title")
    # (1 + 3) / (1 + 4 + 30): the prior, and three likes of thirty impressions.
    assert shown.success == pytest.approx(4 / 35)


# ── rings ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def history(rings: Rings, now_ms: int) -> tuple[list[int], dict[str, list[float | None]]]:
    at, series = rings.since(now_ms)
    return at, dict(series)


def test_a_ring_has_a_value_a_second_and_none_where_nothing_was_measured():
    rings = Rings()
    rings.put(NOW, {"a": 1.0, "b": None})
    rings.put(NOW + 2_400, {"a": 0.1, "b": 5.0})
    at, series = history(rings, NOW + 3_000)
    assert at == [NOW, NOW + 1_000, NOW + 2_000, NOW + 3_000]
    assert series == {"a": [1.0, None, 0.1, None], "b": [None, None, 5.0, None]}


def test_a_ring_forgets_what_is_older_than_its_length():
    rings = Rings(seconds=10)
    for second in range(25):
        rings.put(NOW + second * 1000, {"a": float(second)})
    at, series = history(rings, NOW + 24_000)
    assert len(at) == 10
    assert series["a"] == [float(second) for second in range(15, 25)]
    # A word from long ago writes over nothing.
    rings.put(NOW, {"a": -1.0})
    assert history(rings, NOW + 24_000)[1]["a"] == series["a"]


def test_a_ring_holds_no_more_series_than_it_may():
    rings = Rings(most=3)
    rings.put(NOW, {f"s{number}": 1.0 for number in range(10)})
    assert len(history(rings, NOW)[1]) == 3


def test_an_empty_ring_has_no_seconds():
    assert history(Rings(), NOW) == ([], {})


# ── the feed's last seconds ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_feed_is_told_of_over_whole_seconds():
    now = 100.5
    window = FeedWindow(lambda: now)
    for number in range(20):
        window.answered(10.0, failed=number == 0)
        window.page([StageTrace("source", "fresh", 0, 60, 1.0), StageTrace("filter", "seen", 60, 40, 3.0)])
    assert window.view(slates_lost=0, degraded=False).pages_per_s == 0.0
    now = 101.5
    window.answered(1_000.0, failed=False)
    view = window.view(slates_lost=2, degraded=True)
    assert (view.pages_per_s, view.p50_ms, view.errors_per_s, view.slates_lost, view.degraded) == (2.0, 10.0, 0.1, 2, True)
    assert [(stage.kind, stage.name, stage.mean_ms, stage.candidates_in, stage.candidates_out) for stage in view.stages] == [
        ("source", "fresh", 1.0, 0.0, 60.0), ("filter", "seen", 3.0, 60.0, 40.0),
    ]  # fmt: skip
    now = 120.5
    quiet = window.view(slates_lost=0, degraded=False)
    assert (quiet.pages_per_s, quiet.p50_ms, len(quiet.stages)) == (0.0, None, 2)
    now = 500.5
    assert window.view(slates_lost=0, degraded=False).stages == []
