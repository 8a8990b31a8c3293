"""The operator's page, in a browser, on a whole house whose processes are killed and whose broker is given bad events."""

import json
import re
import signal
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from playwright.sync_api import Locator, Page, ViewportSize, expect

from bench.house import Up, up
from deploy.local.endpoints import running
from headwater.settings import Settings
from streams.events import DeadLetter
from streams.kafka import EventProducer, producer_config
from streams.topics import DEAD_LETTERS
from tests.conftest import RunningHouse
from tests.pages.conftest import DESKTOP, PHONE, Visit, serious_faults

pytestmark = pytest.mark.stack

Begin = Callable[..., Visit]
# While the API is away, a browser says so in its console.
AWAY = ["ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "ERR_INCOMPLETE_CHUNKED", "status of 503"]
# A process is back within this, on a busy machine too.
BACK_MS = 60_000
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def owned(house: RunningHouse) -> Up:
    """The house, as one whose processes can be found and killed, with a few videos in it."""
    var = Path(house.environment["HEADWATER_VAR"])
    endpoints = running(var)
    assert endpoints is not None
    found = Up(house.process, Settings(var=var).at(endpoints), house.url, house.said)
    for number in range(12):
        upload(found, f"seed-{number}", title=f"Learning to weld, part {number}", author=f"author-{number % 4}")
    return found


@pytest.fixture
def page(owned: Up, visit: Begin) -> Page:
    """The page at a desk, live."""
    found = opened(visit(DESKTOP, scheme="light"))
    expect(found.locator("#connection")).to_have_text("Live")
    return found


def opened(visit: Visit) -> Page:
    visit.tolerated += AWAY
    page = visit.open("/ops")
    page.set_default_timeout(30_000)
    return page


def send(house: Up, method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(
        house.running.url + path,
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=15) as answer:
        said = answer.read()
        return json.loads(said) if said else None


def upload(house: Up, video: str, *, title: str, author: str = "ann") -> None:
    send(house, "POST", "/v1/uploads", {"video_id": video, "author_id": author, "title": title, "tags": ["cooking"]})


def interact(house: Up, user: str, video: str, *actions: str) -> None:
    events = [{"user_id": user, "video_id": video, "action": action} for action in actions]
    send(house, "POST", "/v1/interactions", events)


@contextmanager
def streaming(house: Up) -> Iterator[None]:
    """Viewers who watch and tap while the block runs. A request that fails is sent by the next round."""
    done = threading.Event()

    def watch() -> None:
        viewer = 0
        while not done.wait(0.02):
            viewer += 1
            try:
                send(house, "GET", f"/v1/feed?user_id=viewer-{viewer % 20}&limit=5")
                interact(house, f"viewer-{viewer % 20}", f"seed-{viewer % 12}", "impression", "play", "like")
            except OSError:
                continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(30)


def produce(house: Up, topic: str, payload: bytes) -> None:
    """Give the broker bytes that no API has looked at."""
    producer = Producer(producer_config(house.running.settings.kafka))
    producer.produce(topic, payload, key=b"somebody")
    assert producer.flush(10) == 0


def put_letter(house: Up, payload: bytes, reason: str, *, key: str = "somebody") -> str:
    """Put a letter into the topic as a flow does, and return its id."""
    offset = uuid.uuid4().int % 1_000_000_000
    letter = DeadLetter(
        origin="interactions", partition=0, offset=offset, reason=reason, payload=payload,
        failed_at=time.time_ns() // 1_000_000, flow="profile", key=key.encode(),
    )  # fmt: skip
    producer = EventProducer(house.running.settings.kafka)
    producer.send(DEAD_LETTERS, letter)
    assert producer.close() == 0
    return letter.letter_id


def number(shown: Locator) -> float:
    """Return the number in a figure, 0 where there is none."""
    found = re.search(r"[\d,.]+", shown.inner_text())
    return float(found[0].replace(",", "")) if found else 0.0


def until(condition: Callable[[], bool], page: Page, *, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, page.get_by_test_id("verdict").inner_text()
        page.wait_for_timeout(100)


def happened(page: Page, words: str | re.Pattern[str]) -> Locator:
    return page.locator("#timeline li", has_text=words)


def test_numbers_move_while_events_flow(owned: Up, page: Page) -> None:
    expect(page.get_by_test_id("verdict")).to_contain_text(re.compile(r"\w"))
    for server in ("broker", "redis", "triton", "api", "supervisor"):
        expect(page.get_by_test_id(f"server-{server}")).to_contain_text("ok")
    for flow in ("perceive", "profile", "rerank", "feedback"):
        expect(page.get_by_test_id(f"flow-{flow}")).to_contain_text("running")
    accepted = page.get_by_test_id("stat-accepted").locator(".value")
    with streaming(owned):
        until(lambda: number(page.get_by_test_id("stat-interactions_per_s").locator(".quantity")) > 0, page)
        until(lambda: number(page.get_by_test_id("stat-pages_per_s").locator(".quantity")) > 0, page)
        expect(page.get_by_test_id("stat-freshness_p99")).to_contain_text(re.compile(r"\d\s?m?s"))
        before = number(accepted)
        until(lambda: number(accepted) > before, page)
        expect(page.locator("#feed .stages li").first).to_be_visible()
        legend = page.get_by_test_id("chart-events_per_s").get_by_role("button", name="interactions")
        until(lambda: number(legend.locator(".legend-value")) > 0, page)
    expect(page.get_by_test_id("chart-events_per_s").locator("canvas")).to_be_visible()
    expect(page.locator("#catalogue")).to_contain_text("Learning to weld")


def test_the_range_of_the_plots_is_kept_for_the_next_visit(page: Page) -> None:
    page.get_by_role("radio", name="5 min", exact=True).check()
    page.reload()
    expect(page.get_by_role("radio", name="5 min", exact=True)).to_be_checked()


def test_a_plot_is_read_by_keyboard(page: Page) -> None:
    plot = page.get_by_test_id("chart-catalogue_size")
    plot.get_by_role("img").focus()
    expect(plot.locator("canvas")).to_be_visible()

    def walked() -> bool:
        page.keyboard.press("ArrowLeft")
        return bool(re.fullmatch(r"\d\d:\d\d:\d\d", plot.locator(".chart-at").inner_text()))

    until(walked, page)


def test_a_term_explains_itself_to_pointer_and_keyboard_and_escape_ends_it(page: Page) -> None:
    button = page.get_by_test_id("stat-freshness_p99").get_by_role("button")
    expect(button).to_have_accessible_description(re.compile("Budget 100 ms"))
    tip = page.locator("#tip")
    button.hover()
    expect(tip).to_contain_text("Budget 100 ms")
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    page.get_by_test_id("stat-interactions_per_s").get_by_role("button").focus()
    page.keyboard.press("Tab")
    expect(tip).to_contain_text("Budget 100 ms")


@pytest.mark.parametrize("flow", ["profile", "feedback"])
def test_a_killed_flow_is_seen_to_end_and_to_come_back(owned: Up, page: Page, flow: str) -> None:
    row = page.get_by_test_id(f"flow-{flow}")
    expect(row).to_contain_text("running")
    restarts = number(row.locator("td", has_text="Restarts").locator(".quantity"))
    entries = happened(page, f"{flow} was started again").count()
    owned.send(f"flow-{flow}", signal.SIGKILL)
    expect(row).to_contain_text(re.compile("restarting|quiet|silent|restarted"))
    expect(row).to_contain_text(re.compile(r"restarted \d+ s ago"), timeout=BACK_MS)
    assert number(row.locator("td", has_text="Restarts").locator(".quantity")) == restarts + 1
    expect(happened(page, f"{flow} was started again")).to_have_count(entries + 1)
    page.reload()
    expect(happened(page, f"{flow} was started again").first).to_be_visible()


def test_redis_that_is_killed_is_said_to_be_down_and_then_back(owned: Up, page: Page) -> None:
    # Stopped, it answers nobody, but nobody starts it again: the page must find out by itself.
    stopped = owned.send("redis", signal.SIGSTOP)
    try:
        expect(page.get_by_test_id("server-redis")).to_contain_text("down", timeout=BACK_MS)
        expect(page.get_by_test_id("verdict")).to_contain_text("Redis is down: pages are made from memory")
        expect(happened(page, "redis went down").first).to_be_visible()
    finally:
        stopped.send_signal(signal.SIGCONT)
    expect(page.get_by_test_id("server-redis")).to_contain_text("ok", timeout=BACK_MS)
    expect(happened(page, "redis is back").first).to_be_visible()


def test_a_bad_event_appears_with_its_reason_and_payload(owned: Up, page: Page) -> None:
    mark = uuid.uuid4().hex
    produce(owned, "interactions", json.dumps({"type": "Interaction", "event_id": mark, "user_id": "u"}).encode())
    row = page.get_by_test_id("letter").filter(has_text="video_id").filter(has_text=mark)
    expect(row).to_contain_text("interactions", timeout=BACK_MS)
    row.get_by_role("button", name="Details").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("missing required field")
    expect(dialog.get_by_role("region", name="Payload")).to_contain_text(f'"event_id": "{mark}"')
    expect(happened(page, "from interactions").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_letters_are_found_by_their_reason(owned: Up, page: Page) -> None:
    marks = [uuid.uuid4().hex for _ in range(2)]
    for mark in marks:
        put_letter(owned, b"\xff{", f"interactions: malformed {mark}")
    for mark in marks:
        expect(page.get_by_test_id("letter").filter(has_text=mark)).to_be_visible()
    page.get_by_role("searchbox", name="Reason contains").fill(marks[0])
    expect(page.get_by_test_id("letter")).to_have_count(1)
    expect(page.get_by_test_id("letter")).to_contain_text(marks[0])
    page.get_by_role("searchbox", name="Reason contains").fill("no such reason")
    expect(page.locator("#dead-letters")).to_contain_text("No dead letter matches.")


def test_a_letter_is_replayed_after_its_fix_and_reaches_its_viewer(owned: Up, page: Page) -> None:
    mark = uuid.uuid4().hex
    event = {
        "type": "Interaction", "event_id": mark, "user_id": mark, "video_id": "seed-1", "action": "like",
        "occurred_at": time.time_ns() // 1_000_000,
    }  # fmt: skip
    assert send(owned, "GET", f"/v1/feed?user_id={mark}")["as_of"] == 0
    letter = put_letter(owned, json.dumps(event).encode(), f"interactions: action was not known then {mark}", key=mark)
    row = page.get_by_test_id("letter").filter(has_text=mark)
    row.get_by_role("button", name="Replay").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Its bytes go to the topic interactions again")
    dialog.get_by_role("button", name="Send again").click()
    expect(dialog.get_by_role("status")).to_contain_text("Sent to interactions")
    page.keyboard.press("Escape")
    expect(row).to_be_hidden()
    page.get_by_role("checkbox", name="Open only").uncheck()
    expect(row).to_contain_text("replayed")
    expect(happened(page, letter)).to_be_visible()
    until(lambda: send(owned, "GET", f"/v1/feed?user_id={mark}")["as_of"] > 0, page)


def test_a_takedown_appears_with_the_proof_of_every_store(owned: Up, page: Page) -> None:
    video = f"taken-{uuid.uuid4().hex[:8]}"
    upload(owned, video, title="A clip that has to go")
    send(owned, "DELETE", f"/v1/videos/{video}")
    purge = page.get_by_test_id("purge").filter(has_text=video)
    expect(purge).to_contain_text("Takedown of", timeout=BACK_MS)
    expect(purge).to_contain_text("proven", timeout=BACK_MS)
    expect(purge.get_by_role("listitem").filter(has_text="redis: video features")).to_contain_text("purged")
    expect(happened(page, f"Takedown of {video}")).to_be_visible()


def test_without_the_api_numbers_are_greyed_and_come_back_by_themselves(owned: Up, page: Page) -> None:
    owned.send("api", signal.SIGKILL)
    expect(page.locator("body")).to_have_attribute("data-state", "down")
    expect(page.get_by_test_id("verdict")).to_contain_text("The API does not answer")
    expect(page.locator("#connection")).to_contain_text(re.compile("Last heard"))
    expect(page.locator("#connection")).to_have_text("Live", timeout=BACK_MS)
    expect(page.locator("body")).to_have_attribute("data-state", "live")
    expect(happened(page, "The API answers again").first).to_be_visible()
    expect(page.get_by_test_id("flow-profile")).to_contain_text("running")


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_is_inaccessible(owned: Up, visit: Begin, viewport: ViewportSize, scheme: str) -> None:
    put_letter(owned, b'{"type": "Interaction"}', "interactions: for the eyes of axe")
    page = opened(visit(viewport, scheme=scheme))
    expect(page.get_by_test_id("letter").first).to_be_visible()
    # A plot is made anew when one more topic has events: unlike a mere scroll, this looks for it again.
    page.get_by_test_id("chart-events_per_s").hover()
    expect(page.get_by_test_id("chart-events_per_s").locator("canvas")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than its window"
    assert serious_faults(page) == []
    page.get_by_test_id("letter").first.get_by_role("button", name="Details").click()
    expect(page.get_by_role("region", name="Payload")).to_be_visible()
    assert serious_faults(page) == []


def test_with_keys_the_page_asks_for_one_and_lets_an_admin_in(visit: Begin) -> None:
    keys = [{"key": "an-operator's-key", "scopes": ["admin"]}, {"key": "an-app's-own-key", "scopes": ["feed"]}]
    with up({"api.keys": json.dumps(keys)}) as house:
        guest = visit(DESKTOP, scheme="light", address=house.running.url)
        guest.tolerated.append("status of 401")
        page = opened(guest)
        dialog = page.get_by_role("dialog", name="This page needs an admin key")
        expect(dialog).to_contain_text("With no keys configured this page is open, on loopback only.")
        assert serious_faults(page) == []
        dialog.get_by_role("textbox", name="Admin key").fill("a-wrong-key")
        dialog.get_by_role("button", name="Unlock").click()
        expect(dialog.get_by_role("alert")).to_have_text("The API does not know this key.")
        dialog.get_by_role("textbox", name="Admin key").fill("an-app's-own-key")
        dialog.get_by_role("button", name="Unlock").click()
        expect(dialog).to_contain_text("it lacks the scope admin")
        dialog.get_by_role("textbox", name="Admin key").fill("an-operator's-key")
        dialog.get_by_role("button", name="Unlock").click()
        expect(page.locator("#connection")).to_have_text("Live")
        expect(page.locator("#health")).to_contain_text("Nothing is streaming yet")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("dialog", name="This page needs an admin key")).to_be_visible()
