"""The series over time: their names, and the value of each in one second."""

from collections.abc import Iterable, Mapping

from serving.ops.processes import FLOW
from serving.ops.view import OpsView
from streams.events import Heartbeat, Supervised

# The flow whose freshness is what is promised.
_PROMISED = "profile"
# What is known of a topic's rate without the broker: what the flow that reads it took.
_READ_BY = {"uploads": "perceive", "interactions": "profile", "slates": "feedback"}


def values(
    view: OpsView, supervised: Mapping[str, Supervised] | None, newest: Mapping[str, Heartbeat]
) -> dict[str, float | None]:
    """Return the value of every series as of `view`."""
    promised = next((flow for flow in view.flows if flow.name == _PROMISED), None)
    found: dict[str, float | None] = {
        "freshness_p50_ms": promised.freshness_p50_ms if promised is not None else None,
        "freshness_p99_ms": promised.freshness_p99_ms if promised is not None else None,
        "pages_per_s": view.feed.pages_per_s,
        "feed_p50_ms": view.feed.p50_ms,
        "feed_p99_ms": view.feed.p99_ms,
        "catalogue_videos": view.catalogue.videos,
        "new_videos": view.catalogue.new_videos,
        "exposure_gini": view.catalogue.exposure_gini,
        "served_gini": view.fairness.author_gini,
        "served_new_share": view.fairness.new_share,
    }
    found |= {f"events_per_s.{topic.name}": topic.events_per_s for topic in view.topics}
    found |= {f"lag_events.{flow.name}": flow.lag_events for flow in view.flows}
    found |= {f"restarts.{short(child.name)}": child.restarts for child in (supervised or {}).values()}
    found |= {f"rss_bytes.{name}": rss for name, rss in _memory(newest.values(), (supervised or {}).values()).items()}
    return found


def remembered(beat: Heartbeat) -> dict[str, float | None]:
    """Return what a heartbeat tells of its second to a node that was not there then."""
    name = short(beat.process)
    found: dict[str, float | None] = {f"restarts.{short(child.name)}": child.restarts for child in beat.children}
    found |= {f"rss_bytes.{process}": rss for process, rss in _memory([beat], beat.children).items()}
    found |= {f"events_per_s.{topic}": beat.events.get(topic, 0) for topic, flow in _READ_BY.items() if flow == name}
    if name == _PROMISED and beat.freshness_ms is not None:
        found["freshness_p50_ms"], found["freshness_p99_ms"] = beat.freshness_ms
    return found


def short(process: str) -> str:
    """Return what a process is called where all are shown together."""
    return process.removeprefix(FLOW)


def _memory(beats: Iterable[Heartbeat], children: Iterable[Supervised]) -> dict[str, int]:
    # Several nodes of the API share one line, of the one heard last: a line for each that ever was would fill the memory.
    said = {short(beat.process): beat.rss_bytes for beat in beats}
    return said | {short(child.name): child.rss_bytes for child in children if child.rss_bytes}
