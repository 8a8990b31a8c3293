"""Each bench, small: it runs on a stack of its own and its last line is JSON with the promised figures."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.house import MORTAL

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

CHECKOUT = Path(__file__).resolve().parents[2]


def figures(bench: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{bench}", *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["bench"] == bench
    assert "cores" in found["machine"]
    return found


def test_freshness_counts_every_event_once() -> None:
    found = figures("freshness", "--seconds", "2", "--rate", "200", "--viewers", "200")
    assert 0 < found["p50_ms"] <= found["p99_ms"]
    assert (found["lost"], found["doubled"], found["refused"]) == (0, 0, 0)


def test_throughput_compares_the_flow_with_push() -> None:
    found = figures("throughput", "--events", "10000", "--viewers", "1000", "--pushed", "1000")
    assert found["lost"] == 0
    assert found["events_per_s"] > 0
    assert found["feast_push_events_per_s"] > 0
    assert found["ratio"] == pytest.approx(found["events_per_s"] / found["feast_push_events_per_s"], rel=0.02)


def test_feed_fills_every_page() -> None:
    found = figures("feed", "--seconds", "2", "--videos", "500", "--viewers", "50", "--rate", "20")
    assert 0 < found["p50_ms"] <= found["p99_ms"]
    assert (found["errors"], found["empty_pages"]) == (0, 0)
    assert found["stages_ms"]


def test_the_ranker_learns_from_a_crowd_and_makes_pages() -> None:
    found = figures("ranker", "--viewers", "30", "--videos", "300", "--learned", "300", "--judged", "100")
    assert found["rows"]["judged"] > 100
    assert found["skip_auc"] > 0.5
    assert found["reward_gain_low"] <= found["reward_gain"] <= found["reward_gain_high"]
    assert 0 < found["interest_by_ranker"] <= found["best_interest"] <= 1
    assert found["score_1000_ms"] > 0


def test_cold_start_follows_a_clip_and_takes_it_down() -> None:
    found = figures("cold_start", "--uploads", "1", "--takedowns", "3", "--catalogue", "60")
    assert 0 < found["title_p50_ms"] <= found["frames_p50_ms"]
    assert found["first_impression_p50_ms"] > 0
    assert found["takedown_p99_ms"] > 0
    assert found["never_shown"] == 0


def test_fairness_tells_what_each_target_reached_and_cost() -> None:
    found = figures("fairness", "--videos", "400", "--viewers", "60", "--pages", "50", "--settling", "50")
    assert 0 < found["gini_reached"]["0.1"] < found["gini_free"] < 1
    assert found["new_share_reached"].keys() == found["new_share_value_lost_percent"].keys() == found["new_share_places"].keys()
    assert 0 <= found["both_reached"]["new_share"] <= 1


def test_crash_loses_and_doubles_nothing() -> None:
    found = figures("crash", "--events", "2000", "--kills-each", "1", "--rate", "150")
    assert found["kills_by_process"] == dict.fromkeys(MORTAL, 1)
    assert found["events"] >= 2000
    assert found["slates"] > 0
    for nothing in (
        "lost", "doubled", "not_recovered", "slates_without_feedback", "feedback_wrong", "log_missing", "log_doubled",
        "dead_letters_without_cause", "bad_without_dead_letter", "uploads_not_perceived", "maybe_accepted",
    ):  # fmt: skip
        assert found[nothing] == 0, (nothing, found["examples"])


def test_soak_tells_how_each_process_grows_and_whether_it_becomes_slower(tmp_path: Path) -> None:
    found = figures("soak", "--minutes", "0.5", "--pages", "4", "--viewers", "20", "--folder", str(tmp_path))
    assert {*MORTAL, "up", "broker"} <= set(found["grows_mb_per_h"])
    assert (found["errors"], found["fresh_never"]) == (0, 0)
    assert 0 < found["feed_p50_ms"] <= found["feed_p99_ms"]
    assert (tmp_path / "soak.csv").read_text().startswith("seconds,process,uss_mb")
    assert "uPlot" in (tmp_path / "soak.html").read_text()


def test_broker_compares_a_long_topic_with_a_short_one() -> None:
    found = figures("broker", "--batches", "800")
    assert found["way_first_p50_ms"] > 0
    assert found["ratio"] == pytest.approx(found["way_last_p50_ms"] / found["way_first_p50_ms"], abs=0.02)
    assert len(found["ways_p50_ms"]) == 8
    assert found["rss_mb"] > 0
