"""The operator's panel of learning in a real browser, over the real API with a learner's files."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from models.learning.record import Decision, What, append
from models.settings import LearningSettings
from serving.experiments.canary import Look, write_look
from tests.pages.conftest import DESKTOP, PHONE, serious_faults
from tests.pages.test_experiments_panel import Served, serving

OLD, NEW, BAD = "20260101T101500-1a2b3c4d", "20260102T093000-5e6f7a8b", "20260101T180000-9c0d1e2f"
STEPS = 900


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("learning")
    learned(folder, now=time.time_ns() // 1_000_000)
    with serving(folder, None, LearningSettings(releases=folder / "releases", runs=folder / "runs")) as found:
        yield found


def learned(folder: Path, *, now: int) -> None:
    """Leave what a learner leaves: decisions of two models, a canary that is watched, and a run with curves."""
    root = folder / "releases"
    root.mkdir()

    def decided(ago_min: int, what: What, reason: str, version: str = "", *, model: str = "agent", **more: str) -> None:
        by = more.pop("by", "gate")
        append(root, Decision(at=now - ago_min * 60_000, model=model, what=what, by=by, reason=reason, version=version, **more))

    decided(900, "released", "hr_at_20 0.1240, the baseline has 0.0910", OLD, model="towers")
    decided(800, "released", "accuracy 0.6920, the baseline has 0.6110", OLD)
    decided(600, "canary", "accuracy 0.7010, the baseline has 0.6110", BAD)
    worse = (
        "its reward is surely below the others': 0.2110 of 412 viewers, 0.3120 of 3741 others, difference -0.1440 to -0.0580"
    )
    decided(590, "rolled back", worse, BAD, by="canary", to=OLD)
    decided(300, "refused", "accuracy 0.6120 is not surely above the baseline's 0.6110")
    decided(200, "pinned", "no surprises over the weekend", OLD, by="kim", model="towers")
    decided(40, "canary", "accuracy 0.7230, the baseline has 0.6110", NEW)
    seen = Look(
        at=now, version=NEW, share=0.1, viewers=388, other_viewers=3_502, reward=0.3312, other_reward=0.3107,
        difference=0.0205, low=-0.0081, high=0.0491,
        reason="not surely worse so far; it has not had its time (learning.canary_s)",
    )  # fmt: skip
    write_look(root, "agent", seen)
    run = folder / "runs" / "agent" / "20260102T090000"
    run.mkdir(parents=True)
    lines = [{"step": n, "stage": "sft", "at": now - 3_000_000 + n, "loss": 2.5 * math.exp(-n / 60) + 0.4} for n in range(200)]
    lines += [
        {
            "step": n, "stage": "grpo", "at": now - 2_000_000 + 1_000 * n, "reward": 0.7 - 0.9 * math.exp(-n / 200),
            "rewards/accuracy": 0.72 - 0.3 * math.exp(-n / 200), "rewards/form": -math.exp(-n / 50),
            "kl": 0.04 * (1 - math.exp(-n / 300)),
            "completion_length": 24 + 8 * math.sin(n / 90), "dropped_share": 0.2 + 0.3 * n / STEPS,
        }
        for n in range(STEPS)
    ]  # fmt: skip
    (run / "curves.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 9')


def opened(browser: Browser, served: Served, viewport: ViewportSize, scheme: str) -> tuple[Page, list[str]]:
    """Return the page, and what it says is wrong with it."""
    context = browser.new_context(viewport=viewport, color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    page, problems = context.new_page(), list[str]()
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{served.address}/ops#learning")
    expect(page.get_by_test_id("model-agent")).to_be_visible(timeout=20_000)
    return page, problems


@pytest.mark.parametrize(("viewport", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")], ids=["phone", "desktop"])
def test_what_serves_its_canary_each_decision_and_the_curves_are_shown(
    served: Served, chromium: Browser, viewport: ViewportSize, scheme: str
) -> None:
    page, problems = opened(chromium, served, viewport, scheme)
    agent = page.get_by_test_id("model-agent")
    expect(agent).to_contain_text(OLD)
    expect(agent).to_contain_text(NEW)
    expect(agent).to_contain_text("10% of viewers")
    expect(agent).to_contain_text("Difference +0.021 (-0.008 to +0.049)")
    expect(page.get_by_test_id("model-towers")).to_contain_text("pinned")
    expect(page.get_by_test_id("decision-rolled-back")).to_contain_text("surely below the others'")
    expect(page.get_by_test_id("decision-refused")).to_contain_text("not surely above")
    expect(page.get_by_test_id("decision-pinned")).to_contain_text("kim")
    reward = page.get_by_test_id("chart-learning_reward")
    reward.scroll_into_view_if_needed()
    expect(reward.locator("canvas")).to_be_visible()
    expect(reward).to_contain_text("accuracy0.72")
    for curve in ("kl", "length", "dropped", "loss"):
        expect(page.get_by_test_id(f"chart-learning_{curve}")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than its window"
    assert serious_faults(page) == []
    assert problems == []
    page.context.close()


def test_where_nothing_was_learned_the_panel_says_how_to(chromium: Browser, tmp_path: Path) -> None:
    with serving(tmp_path, None, LearningSettings(releases=tmp_path / "releases", runs=tmp_path / "runs")) as served:
        page = chromium.new_context(viewport=DESKTOP).new_page()
        page.goto(f"{served.address}/ops")
        expect(page.locator("#learning")).to_contain_text("Nothing was decided yet", timeout=20_000)
        expect(page.locator("#learning .run")).to_be_hidden()
        page.context.close()
