"""The operator's panel of experiments in a real browser, over the real API with made-up feedback."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, ViewportSize, expect

from models.settings import LearningSettings, MediaSettings
from serving.api import create_app
from serving.experiments.settings import ExperimentSettings
from serving.node import Check, Node
from serving.settings import ApiSettings, FeedSettings
from streams.events import Feedback, Outcome
from streams.follower import Followed
from streams.topics import FEEDBACK
from tests.pages.conftest import DESKTOP, PHONE, serious_faults
from tests.serving.conftest import Published, StoredViewers

SETTINGS = ExperimentSettings.model_validate(
    {
        "running": [
            {
                "name": "fresher-feed",
                "arms": [
                    {"name": "control", "share": 0.4},
                    {"name": "fresh", "share": 0.3, "changes": {"weights.freshness": 0.5}},
                    {"name": "very-fresh", "share": 0.3, "changes": {"weights.freshness": 2.0}},
                ],
            },
            {
                "name": "fewer-repeats",
                "metric": "watch_s",
                "arms": [
                    {"name": "control", "share": 0.5},
                    {"name": "diverse", "share": 0.5, "changes": {"mmr_lambda": 0.5}},
                ],
            },
        ]
    }
)
# Likelihood of a completed watch and of a skip, by arm.
HABITS = {"control": (0.25, 0.3), "fresh": (0.37, 0.27), "very-fresh": (0.27, 0.42)}


@dataclass(frozen=True)
class Served:
    """A node behind a real port."""

    node: Node
    address: str

    def tell(self, user: str, arm: str, request: str, outcomes: list[Outcome]) -> None:
        """Let the node hear of what became of a page."""
        made = Feedback(
            request_id=request, user_id=user, items=tuple(outcomes), served_at=1, closed_at=2, arm=arm, policy_version=""
        )
        assert self.node.experiments is not None
        self.node.experiments.follow([Followed(FEEDBACK, user, made, 3, 0, int(request))])


@contextmanager
def serving(media: Path, experiments: ExperimentSettings | None, learning: LearningSettings | None = None) -> Iterator[Served]:
    """Give a node without servers, on a port of its own."""

    async def checks() -> list[Check]:
        return []

    node = Node(
        ApiSettings(media_dir=str(media), posters_dir=str(media / "posters")),
        FeedSettings(),
        MediaSettings(roots=(media,)),
        publisher=Published(),
        viewers=StoredViewers(),
        checks=checks,
        experiments=experiments,
        learning=learning,
    )
    server = uvicorn.Server(uvicorn.Config(create_app(node), port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    with node.ops.running([]):
        yield Served(node, f"http://127.0.0.1:{port}")
    # Pages that still listen are not waited for.
    server.should_exit = server.force_exit = True
    thread.join(30)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("media"), SETTINGS) as found:
        feed(found)
        yield found


def feed(served: Served) -> None:
    """Tell of two pages of a thousand viewers in one experiment, and of a few in the other."""
    rng = np.random.default_rng(1)
    arms = rng.choice(list(HABITS), 1_000, p=[0.4, 0.3, 0.3])
    for number, arm in enumerate(arms.tolist()):
        completes, skips = HABITS[arm]
        also = f",fewer-repeats={'diverse' if number % 2 else 'control'}" if number < 60 else ""
        for page in range(2):
            places = [outcome(rng, position, completes, skips) for position in range(8)]
            served.tell(f"viewer-{number}", f"fresher-feed={arm}{also}", str(2 * number + page), places)


def outcome(rng: np.random.Generator, position: int, completes: float, skips: float) -> Outcome:
    chance = rng.random(3)
    done = [("complete", chance[0] < completes), ("skip", chance[0] > 1 - skips), ("like", chance[1] < 0.06)]
    done.append(("report", chance[2] < 0.002))
    actions = ["impression", *(name for name, happened in done if happened)]
    worth = {"complete": 1.0, "skip": -0.5, "like": 0.5, "report": -10.0}
    return Outcome(
        video_id="v", position=position, propensity=1.0, source="fresh", actions=tuple(actions),
        watch_ms=int(rng.integers(1_000, 12_000)), reward=sum(worth.get(name, 0.0) for name in actions), parts={},
    )  # fmt: skip


def opened(browser: Browser, served: Served, viewport: ViewportSize, scheme: str) -> tuple[Page, list[str]]:
    """Return the page, and what it says is wrong with it."""
    context = browser.new_context(viewport=viewport, color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    page, problems = context.new_page(), list[str]()
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{served.address}/ops#experiments")
    expect(page.get_by_test_id("experiment-fresher-feed")).to_be_visible(timeout=20_000)
    return page, problems


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_experiments_are_shown_with_intervals_guardrails_and_a_verdict(
    served: Served, chromium: Browser, viewport: ViewportSize, scheme: str
) -> None:
    page, problems = opened(chromium, served, viewport, scheme)
    experiment = page.get_by_test_id("experiment-fresher-feed")
    expect(experiment).to_contain_text("fresh is better: reward +")
    expect(experiment).to_contain_text("Guardrail broken: stop very-fresh. Skips are worse than control's by more than 5%.")
    broken = page.get_by_test_id("metric-very-fresh-skips")
    expect(broken).to_have_attribute("data-tone", "bad")
    expect(broken).to_contain_text(re.compile("broken.*at most 5% worse"))
    expect(page.get_by_test_id("metric-fresh-reward")).to_contain_text("decides")
    expect(page.get_by_test_id("metric-fresh-reward").locator(".interval[data-apart]")).to_have_count(1)
    expect(page.get_by_test_id("experiment-fewer-repeats")).to_contain_text("Too few viewers yet: 30 of the 100")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than its window"
    assert serious_faults(page) == []
    assert problems == []
    page.context.close()


def test_a_node_without_experiments_shows_no_panel(chromium: Browser, tmp_path: Path) -> None:
    with serving(tmp_path, None) as served:
        page = chromium.new_context(viewport=DESKTOP).new_page()
        page.goto(f"{served.address}/ops")
        expect(page.locator("#connection")).to_have_text("Live", timeout=20_000)
        expect(page.locator("#experiments")).to_be_hidden()
        page.context.close()
