"""The API's documentation in a real browser: it renders under the pages' own policy, and asks nobody else for anything."""

from collections.abc import Callable

import pytest

from tests.pages.conftest import DESKTOP, Visit

pytestmark = pytest.mark.stack


def test_the_api_is_described_and_can_be_tried_out(visit: Callable[..., Visit]):
    page = visit(DESKTOP).open("/docs")
    operation = page.locator(".opblock", has_text="The viewer's next page")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_placeholder("user_id").fill("ann")
    operation.get_by_role("button", name="Execute").click()
    operation.locator(".live-responses-table .response-col_status", has_text="200").wait_for()
