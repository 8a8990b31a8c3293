"""A real browser for the pages' tests: Debian's Chromium, without a window, which reports whatever a page does wrong."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, ViewportSize, sync_playwright

from tests.conftest import RunningHouse

PHONE = ViewportSize(width=390, height=844)
DESKTOP = ViewportSize(width=1440, height=900)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser; of a module, as Playwright's event loop in this thread would keep other tests from having one."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on PATH: apt-get install chromium")
    with sync_playwright() as playwright:
        # Root may not use the sandbox; sound needs a tap, as on phones, and is off.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """Pages of one browser profile, and what was wrong with them; `tolerated` are parts of errors that a test provokes."""

    new_page: Callable[[], Page]
    address: str
    tolerated: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def open(self, path: str = "/") -> Page:
        """Return a page that watches itself from its first byte."""
        page = self.new_page()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        page.on("request", self._asked)
        page.goto(self.address + path)
        return page

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(part in message.text for part in self.tolerated):
            self.problems.append(f"console: {message.text} {message.location.get('url', '')}")

    def _asked(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme in ("http", "https", "ws", "wss") and url.netloc != urlsplit(self.address).netloc:
            self.problems.append(f"a third party was asked: {request.url}")


@pytest.fixture
def visit(chromium: Browser, house: RunningHouse) -> Iterator[Callable[..., Visit]]:
    """Return what begins a visit of a new visitor; at the end of the test none of them may have had a problem.

    A violation of the Content-Security-Policy is an error on the console, and so a problem.
    """
    visits: list[Visit] = []
    contexts = []

    def begin(viewport: ViewportSize = PHONE, *, scheme: Any = "dark", address: str | None = None, **options: Any) -> Visit:
        context = chromium.new_context(
            viewport=viewport, color_scheme=scheme, has_touch=viewport == PHONE, reduced_motion="reduce", **options
        )
        contexts.append(context)
        visits.append(Visit(context.new_page, address or house.url))
        return visits[-1]

    yield begin
    for context in contexts:
        context.close()
    assert [problem for each in visits for problem in each.problems] == []


def serious_faults(page: Page) -> list[str]:
    """Return what axe-core finds serious or critical on the page as it is now."""
    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']} at {node['target']}: {'; '.join(check['message'] for check in node['any']) or fault['help']}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
