"""The Grafana dashboard, against the metrics of a real house."""

import json
import re
import time
import urllib.request
from typing import Any

import pytest

from tests.conftest import CHECKOUT, RunningHouse

DASHBOARD = json.loads((CHECKOUT / "deploy" / "dashboards" / "grafana.json").read_text())


def queried() -> set[str]:
    """Return the names of metrics in every query of the dashboard."""
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    expressions += [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
    return {name for expression in expressions for name in re.findall(r"headwater_\w+", expression)}


def post(house: RunningHouse, path: str, body: Any) -> None:
    request = urllib.request.Request(house.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


def served(house: RunningHouse) -> set[str]:
    with urllib.request.urlopen(house.url + "/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {re.split(r"[{ ]", line)[0] for line in lines if line and not line.startswith("#")}


def test_the_dashboard_asks_for_its_data_source_and_nothing_else() -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    assert variable["type"] == "datasource"
    sources = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if "datasource" in panel}
    assert sources == {"${datasource}"}


def test_every_panel_says_what_it_means_and_none_lies_over_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        assert panel["type"] == "row" or panel["description"], panel["title"]
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.stack
def test_every_metric_of_the_dashboard_is_served(house: RunningHouse) -> None:
    post(house, "/v1/uploads", {"video_id": "dashboard", "author_id": "dora", "title": "Learning to weld"})
    deadline = time.monotonic() + 60
    # Freshness and exposure have values once events went the whole way.
    while missing := queried() - served(house):
        assert time.monotonic() < deadline, f"/metrics has no {sorted(missing)}"
        post(
            house,
            "/v1/interactions",
            [{"user_id": "dashboard", "video_id": "dashboard", "action": action} for action in ("impression", "play", "like")],
        )
        house.get("/v1/feed?user_id=dashboard&limit=3")
        time.sleep(0.2)
