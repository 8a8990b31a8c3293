"""The viewer's page, driven as a viewer drives it, against a whole house."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, ViewportSize, expect

from deploy.local.endpoints import running
from deploy.local.ports import choose
from headwater.settings import Settings
from simulation.clips import installed
from streams.events import Instruction, Interaction
from streams.follower import Followed, Follower
from streams.topics import INTERACTIONS
from tests.conftest import CHECKOUT, HEADWATER, RunningHouse
from tests.pages.conftest import DESKTOP, PHONE, Visit, serious_faults

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

Begin = Callable[..., Visit]
SIZES = pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
SUBJECTS = {
    "cooking": "Cooking a fresh pasta recipe, dish {}",
    "football": "Football goal of the week, match {}",
    "gardening": "Planting tomatoes in a small garden, bed {}",
}
EACH = 40


class Taken:
    """What the broker has of the viewers' interactions."""

    def __init__(self) -> None:
        self.events: list[Interaction | Instruction] = []

    def follow(self, batch: list[Followed]) -> None:
        self.events += [each.event for each in batch if isinstance(each.event, Interaction | Instruction)]

    def of(self, user_id: str) -> list[Interaction]:
        return [event for event in self.events if isinstance(event, Interaction) and event.user_id == user_id]


@pytest.fixture(scope="module", autouse=True)
def catalogue(house: RunningHouse) -> None:
    """Titles on three subjects, and a real clip, for all of these tests."""
    for subject, title in SUBJECTS.items():
        for number in range(EACH):
            upload = {"video_id": f"page-{subject}-{number}", "author_id": f"{subject}-{number}", "title": title.format(number)}
            send(house.url, "POST", "/v1/uploads", upload)
    house.run("upload", str(installed()[0].path), "--title", "Big Buck Bunny", "--wait")


@pytest.fixture(scope="module")
def taken(house: RunningHouse) -> Iterator[Taken]:
    """The interactions topic, followed from its beginning."""
    seen = Taken()
    kafka = running_settings(house).kafka
    follower = Follower(kafka, [INTERACTIONS], seen.follow, name="test-interactions").start()
    yield seen
    follower.close()


def running_settings(house: RunningHouse) -> Settings:
    settings = Settings.model_validate({"var": Path(house.environment["HEADWATER_VAR"])})
    endpoints = running(settings.var)
    assert endpoints is not None
    return settings.at(endpoints)


def send(address: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
    request = urllib.request.Request(
        address + path, None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def eventually(page: Page, question: Callable[[], Any], *, within_s: float = 15.0) -> Any:
    """Return the first true answer, while the page goes on, or fail after `within_s`."""
    end = time.monotonic() + within_s
    while not (answer := question()):
        assert time.monotonic() < end, "not within its deadline"
        page.wait_for_timeout(50)
    return answer


def front(page: Page) -> Locator:
    """The card in front; the others can't be reached."""
    return page.locator("article.card:not([inert])")


def video_in_front(page: Page) -> str:
    return str(front(page).get_attribute("data-video"))


def upcoming(page: Page) -> list[dict[str, str]]:
    """Return the cards after the one in front: the video, why it is there, and the mark of a tap."""
    found: list[dict[str, str]] = page.evaluate(
        """() => {
            const cards = [...document.querySelectorAll("article.card")];
            const at = cards.findIndex((card) => !card.inert);
            const text = (card, part) => card.querySelector(part)?.textContent ?? "";
            return cards.slice(at + 1).map((card) => ({
                video: card.dataset.video, reason: text(card, ".card-reason"), mark: text(card, ".card-mark"),
            }));
        }"""
    )
    return found


def move_to(page: Page, wanted: str) -> str:
    """Move on to a card that matches the selector `wanted`, and return its video."""
    for _ in range(30):
        if front(page).and_(page.locator(wanted)).count():
            return video_in_front(page)
        before = video_in_front(page)
        page.keyboard.press("j")
        eventually(page, lambda before=before: video_in_front(page) != before)
    raise AssertionError(f"no card that is {wanted}")


def viewer(page: Page) -> str:
    return str(page.evaluate("localStorage.getItem('headwater.viewer')"))


@SIZES
def test_a_like_changes_the_next_page_and_says_when(visit: Begin, viewport: ViewportSize) -> None:
    page = visit(viewport).open()
    move_to(page, "[data-video^=page-gardening]")
    front(page).get_by_role("button", name="Like").click()
    expect(page.locator("#toast")).to_contain_text("Your like counted after")
    changed = eventually(page, lambda: [card for card in upcoming(page) if card["mark"]])
    assert {card["mark"] for card in changed} == {"New since your like"}
    assert any("gardening" in card["video"] for card in changed)
    assert any("liked" in card["reason"] or "gardening" in card["reason"] for card in changed)

    if viewport == PHONE:
        page.locator("#toast").get_by_role("button", name="How").click()
    expect(page.get_by_test_id("figure")).to_contain_text("ms")
    expect(page.get_by_text("was in your features")).to_be_visible()
    for stage in ("Event", "Flow", "Feature", "Next page"):
        expect(page.locator(".waterfall-stage", has_text=stage).first).to_be_visible()


@SIZES
def test_an_instruction_takes_effect_and_is_confirmed(visit: Begin, viewport: ViewportSize) -> None:
    page = visit(viewport).open()
    expect(front(page)).to_have_count(1)
    page.get_by_role("button", name="Less politics, more cooking").click()
    page.get_by_label("In your own words").fill("more football, less cooking")
    page.get_by_label("In your own words").press("Enter")
    answer = page.locator("#ask-answer")
    expect(answer).to_contain_text("Understood.", timeout=15_000)
    expect(answer).to_contain_text("You asked for more football")
    page.get_by_role("button", name="Show me").click()
    expect(page.locator("#ask")).to_be_hidden()
    eventually(page, lambda: "football" in video_in_front(page))
    assert "You asked for more football" in front(page).inner_text()


@SIZES
def test_an_uploaded_clip_is_followed_through_perception_and_then_shown(visit: Begin, viewport: ViewportSize) -> None:
    page = visit(viewport).open()
    expect(front(page)).to_have_count(1)
    page.get_by_role("button", name="Upload a video").click()
    page.get_by_label("Clip", exact=True).set_input_files(installed()[1].path)
    page.get_by_label("Title", exact=True).fill("Bikes on their way to work")
    page.get_by_role("button", name="Upload", exact=True).click()
    steps = page.get_by_role("list", name="The way of your video")
    for step in ("accepted", "title", "frames"):
        expect(steps.locator(f"[data-step={step}]")).to_have_attribute("data-state", "done", timeout=60_000)
    assert "ms" in steps.locator("[data-step=title]").inner_text() or " s" in steps.locator("[data-step=title]").inner_text()
    page.get_by_role("button", name="Show it").click()
    expect(page.locator("#upload")).to_be_hidden()
    expect(front(page).get_by_role("heading", name="Bikes on their way to work")).to_be_visible()
    # It plays, from bytes asked for by ranges, and being seen is its first impression.
    eventually(page, lambda: front(page).locator("video").evaluate("video => !video.paused && video.currentTime > 0.2"))
    page.keyboard.press("u")
    expect(steps.locator("[data-step=first_impression]")).to_have_attribute("data-state", "done", timeout=15_000)


def test_a_title_alone_is_uploaded_and_has_no_frames_to_wait_for(visit: Begin) -> None:
    page = visit().open()
    page.get_by_role("button", name="Upload a video").click()
    page.get_by_label("Title", exact=True).fill("How to sharpen a kitchen knife")
    page.get_by_label("Tags, with commas between").fill("cooking, tools")
    page.get_by_role("button", name="Upload", exact=True).click()
    steps = page.get_by_role("list", name="The way of your video")
    expect(steps.locator("[data-step=title]")).to_have_attribute("data-state", "done", timeout=15_000)
    expect(steps.locator("[data-step=frames]")).to_have_count(0)


def test_a_file_that_is_no_video_is_refused_in_words(visit: Begin, tmp_path: Path) -> None:
    guest = visit()
    guest.tolerated.append("422")
    page = guest.open()
    (tmp_path / "notes.mp4").write_text("not a video at all")
    page.get_by_role("button", name="Upload a video").click()
    page.get_by_label("Clip", exact=True).set_input_files(tmp_path / "notes.mp4")
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.locator("#upload-error")).to_contain_text("file: expected a video")


def test_a_takedown_vanishes_from_what_comes_next(visit: Begin, house: RunningHouse) -> None:
    page = visit().open()
    expect(front(page)).to_have_count(1)
    victim = eventually(page, lambda: upcoming(page))[2]["video"]
    send(house.url, "DELETE", f"/v1/videos/{quote(victim)}")
    eventually(page, lambda: victim not in [card["video"] for card in upcoming(page)])
    # The one in front is gone too, and the viewer is told.
    shown = video_in_front(page)
    send(house.url, "DELETE", f"/v1/videos/{quote(shown)}")
    expect(page.get_by_text("This video was taken down.")).to_be_visible(timeout=15_000)
    eventually(page, lambda: video_in_front(page) != shown)


def test_an_impression_is_half_a_second_in_sight_and_a_flick_leaves_no_trace(visit: Begin, taken: Taken) -> None:
    page = visit().open()
    expect(front(page)).to_have_count(1)
    user, seen = viewer(page), video_in_front(page)
    eventually(page, lambda: [event for event in taken.of(user) if event.action == "play"])
    flicked, stopped_at = (card["video"] for card in upcoming(page)[:2])
    # Two steps within one task: nothing was in sight for half a second in between.
    page.evaluate(
        """() => {
            const key = () => document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
            const before = document.querySelector("article.card:not([inert])");
            key();
            return new Promise((done) => new MutationObserver((_, observer) => {
                if (before.inert) { observer.disconnect(); key(); done(); }
            }).observe(document.getElementById("feed"), { subtree: true, attributes: true, attributeFilter: ["inert"] }));
        }"""
    )
    eventually(page, lambda: video_in_front(page) == stopped_at)
    eventually(page, lambda: [event for event in taken.of(user) if event.video_id == stopped_at and event.action == "play"])
    events = taken.of(user)
    assert [event.action for event in events if event.video_id == flicked] == []
    first = [event for event in events if event.video_id == seen]
    assert [event.action for event in first][:2] == ["impression", "play"]
    assert [event.action for event in first][2:] in (["skip"], ["progress"], ["complete"])
    assert first[-1].watch_ms is not None
    assert 0 < first[-1].watch_ms < 60_000
    assert {event.position for event in first} == {0}
    assert [event.position for event in events if event.video_id == stopped_at] == [2, 2]
    assert len({event.request_id for event in events}) == 1
    assert len({event.session_id for event in events}) == 1
    assert len({event.event_id for event in events}) == len(events)


def test_what_was_not_sent_yet_goes_out_when_the_page_is_left(visit: Begin, taken: Taken) -> None:
    guest = visit()
    page = guest.open()
    expect(front(page)).to_have_count(1)
    user = viewer(page)
    waiting = "Object.keys(localStorage).some((key) => localStorage[key].includes('\"impression\"'))"
    eventually(page, lambda: page.evaluate(waiting) or taken.of(user))
    # Within the site: to another one Chromium changes the process, and on a busy machine ends the old one unheard.
    page.goto(f"{guest.address}/docs")
    left = eventually(page, lambda: [event for event in taken.of(user) if event.action == "leave"])
    assert left[0].watch_ms is not None
    assert "impression" in [event.action for event in taken.of(user)]


def test_taps_outlive_an_api_that_is_away_and_a_page_that_was_closed(visit: Begin, taken: Taken) -> None:
    guest = visit()
    guest.tolerated += ["ERR_FAILED", "ERR_INTERNET_DISCONNECTED", "Failed to load resource"]
    page = guest.open()
    expect(front(page)).to_have_count(1)
    user, liked = viewer(page), video_in_front(page)
    # Beacons are cut off by this as well, which no route would do.
    context = page.context
    context.set_offline(True)
    page.keyboard.press("l")
    expect(page.get_by_text("Kept: it is sent as soon as the stream is back.")).to_be_visible()
    expect(page.locator("#banner")).to_be_visible()
    # The feed goes on with what it has.
    page.keyboard.press("j")
    eventually(page, lambda: video_in_front(page) != liked)
    page.close()
    assert "like" not in [event.action for event in taken.of(user)]

    context.set_offline(False)
    page = guest.open()
    eventually(page, lambda: "like" in [event.action for event in taken.of(user)])
    expect(page.locator("#banner")).to_be_hidden()
    # Sent twice or not, it is one event to the stream: the same id, video and place.
    likes = [event for event in taken.of(user) if event.action == "like"]
    assert len({event.event_id for event in likes}) == 1
    assert {(event.video_id, event.position) for event in likes} == {(liked, 0)}
    assert page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('headwater.queue')).length") <= 1


def test_the_feed_comes_back_by_itself(visit: Begin) -> None:
    guest = visit()
    guest.tolerated += ["ERR_FAILED", "Failed to load resource"]
    page = guest.new_page()
    page.route("**/v1/feed*", lambda route: route.abort())
    page.goto(guest.address)
    expect(page.get_by_role("heading", name="The feed can’t be reached")).to_be_visible()
    page.unroute("**/v1/feed*")
    expect(front(page)).to_have_count(1, timeout=20_000)
    expect(page.locator("#away")).to_be_hidden()


def test_all_of_it_works_by_keyboard_alone(visit: Begin, taken: Taken) -> None:
    page = visit(DESKTOP).open()
    expect(front(page)).to_have_count(1)
    user, first = viewer(page), video_in_front(page)
    page.keyboard.press("l")
    expect(front(page).get_by_role("button", name="Liked")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowDown")
    eventually(page, lambda: video_in_front(page) != first)
    # Tab goes on from the card in front, to its own buttons.
    page.keyboard.press("Tab")
    assert front(page).evaluate("card => card.contains(document.activeElement)")
    page.keyboard.press("w")
    expect(page.get_by_role("dialog", name="Why this video is here")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("i")
    page.keyboard.type("more gardening")
    page.keyboard.press("Enter")
    expect(page.locator("#ask-answer")).to_contain_text("You asked for more gardening", timeout=15_000)
    # The focus stays inside an open dialog, and comes back to the feed after it.
    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    page.keyboard.press("Escape")
    refused = video_in_front(page)
    page.keyboard.press("n")
    eventually(page, lambda: video_in_front(page) != refused)
    page.keyboard.press("k")
    eventually(page, lambda: video_in_front(page) == refused)
    page.keyboard.press(" ")
    expect(front(page).get_by_role("button", name="Play", exact=True)).to_have_count(1)
    actions = eventually(page, lambda: {"like", "not_interested"} <= {event.action for event in taken.of(user)})
    assert actions


def test_keys_count_from_the_moment_a_sheet_is_closed(visit: Begin) -> None:
    page = visit().open()
    expect(front(page)).to_have_count(1)
    # Its field has the focus still, until the next frame: nothing is waited for in between.
    for key in ("i", "Escape", "u"):
        page.keyboard.press(key)
    expect(page.locator("#upload")).to_be_visible()


def test_each_video_says_why_it_is_here(visit: Begin) -> None:
    page = visit().open()
    front(page).get_by_role("button", name="Why is this here?").click()
    sheet = page.get_by_role("dialog", name="Why this video is here")
    expect(sheet).to_contain_text("Found because it is")
    expect(sheet).to_contain_text("Its score")


def test_a_clip_that_will_not_play_becomes_its_title(visit: Begin) -> None:
    guest = visit()
    guest.tolerated.append("Failed to load resource")
    page = guest.new_page()
    page.route("**/media", lambda route: route.fulfill(status=200, content_type="video/mp4", body=b"these are no frames"))
    page.goto(guest.address)
    move_to(page, "article:has(.card-broken)")
    expect(front(page).get_by_text("This clip can’t be played now")).to_be_visible()
    expect(front(page)).not_to_have_attribute("data-media", "")


def test_an_empty_catalogue_says_what_to_do(visit: Begin) -> None:
    page = visit().new_page()
    nothing = {"request_id": "none", "user_id": "none", "items": [], "as_of": 0, "policy_version": "none"}
    page.route("**/v1/feed*", lambda route: route.fulfill(json=nothing))
    page.goto(visit().address)
    expect(page.get_by_role("heading", name="No videos yet")).to_be_visible()
    expect(page.get_by_text("headwater demo")).to_be_visible()
    page.unroute("**/v1/feed*")
    expect(front(page)).to_have_count(1, timeout=15_000)


def test_a_viewer_can_become_another_and_be_forgotten_with_proofs(visit: Begin) -> None:
    page = visit().open()
    expect(front(page)).to_have_count(1)
    page.locator("header").get_by_role("button", name="You are").click()
    page.get_by_label("You watch as").fill("page-guest")
    page.get_by_role("button", name="Watch as this one").click()
    expect(front(page)).to_have_count(1)
    assert viewer(page) == "page-guest"
    page.locator("header").get_by_role("button", name="You are").click()
    page.get_by_role("button", name="Forget me, everywhere").click()
    expect(page.locator("#menu-proofs")).to_contain_text("page-guest is forgotten", timeout=15_000)
    expect(page.locator("#menu-proofs")).to_contain_text("redis: user features")
    assert viewer(page) != "page-guest"


def test_a_key_is_asked_for_and_never_kept(visit: Begin, house: RunningHouse, tmp_path: Path) -> None:
    key = "a key of the page's test"
    with keyed_api(house, key, tmp_path) as address:
        guest = visit(address=address)
        guest.tolerated.append("401")
        page = guest.open()
        page.get_by_role("textbox", name="Key").fill("a wrong key")
        page.get_by_role("button", name="Come in").click()
        expect(page.get_by_text("This key is not known here.")).to_be_visible()
        page.get_by_role("textbox", name="Key").fill(key)
        page.get_by_role("button", name="Come in").click()
        expect(front(page)).to_have_count(1, timeout=15_000)
        page.keyboard.press("l")
        expect(page.locator("#toast")).to_contain_text("Your like counted", timeout=15_000)
        assert key not in str(page.evaluate("JSON.stringify(localStorage) + document.cookie"))
        page.close()


@contextmanager
def keyed_api(house: RunningHouse, key: str, folder: Path) -> Iterator[str]:
    """Give the address of another API node of the same house, which lets only holders of `key` in."""
    port = choose(0, setting="api.port")
    keys = json.dumps([{"key": key, "scopes": ["feed", "ingest"], "name": "page"}])
    environment = house.environment | {"HEADWATER_API__PORT": str(port), "HEADWATER_API__KEYS": keys}
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen([*HEADWATER, "serve"], cwd=CHECKOUT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60.0
        while not answers(f"{address}/readyz"):
            assert time.monotonic() < end, (folder / "serve.log").read_text()
            assert process.poll() is None, (folder / "serve.log").read_text()
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("scheme", ["light", "dark"])
@SIZES
def test_nothing_on_the_page_keeps_anybody_out(visit: Begin, viewport: ViewportSize, scheme: str) -> None:
    page = visit(viewport, scheme=scheme).open()
    expect(front(page)).to_have_count(1)
    faults = {"feed": serious_faults(page)}
    page.keyboard.press("l")
    expect(page.locator("#toast")).to_be_visible()
    faults["toast"] = serious_faults(page)
    move_to(page, "article:not([data-media])")
    faults["title card"] = serious_faults(page)
    for key, name in {"p": "panel-sheet", "w": "why", "i": "ask", "u": "upload"}.items():
        if key == "p" and viewport == DESKTOP:
            continue
        page.keyboard.press(key)
        expect(page.locator(f"#{name}")).to_be_visible()
        faults[name] = serious_faults(page)
        page.keyboard.press("Escape")
        expect(page.locator(f"#{name}")).to_be_hidden()
    page.locator("header").get_by_role("button", name="You are").click()
    faults["menu"] = serious_faults(page)
    assert {state: found for state, found in faults.items() if found} == {}


def test_the_first_paint_is_small_and_nothing_jumps(visit: Begin) -> None:
    guest = visit()
    page = guest.new_page()
    page.add_init_script(
        """window.shifts = 0;
        const add = (list) => list.getEntries().forEach((entry) => { window.shifts += entry.value; });
        new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true });"""
    )
    page.goto(guest.address)
    expect(front(page)).to_have_count(1)
    assert page.evaluate("window.shifts") < 0.02
    sent = page.evaluate(
        "performance.getEntriesByType('resource').filter((entry) => !entry.name.includes('/v1/'))"
        ".reduce((total, entry) => total + entry.transferSize, 0)"
    )
    assert sent < 250_000
