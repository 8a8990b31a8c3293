"""Towers in the feed: they bring what is watched next, are swapped while pages are made, and a bad release changes nothing."""

import asyncio
import dataclasses
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from models.canaries import gets_canary
from models.learning.releases import write
from models.retrieval.export import export
from models.retrieval.log import History, WatchLog
from models.retrieval.recipe import Recipe
from models.retrieval.training import train
from models.settings import LearningSettings
from serving.columns import Rows
from serving.feed.hydrators.wanted import WantedHydrator
from serving.feed.query import Query
from streams.codec import unpack_vector
from streams.events import Release, Slate, Takedown
from streams.follower import Followed
from streams.topics import RELEASES, SLATES, UPLOADS
from tests.serving.conftest import HOUR, NOW, TOPICS, Build, World, perception, viewer

pytestmark = pytest.mark.anyio
RECIPE = Recipe(
    actions=True, gaps=True, width=32, epochs=12, learning_rate=1e-2, weight_decay=0.01, warm_up=2, places=256, terms=("words",)
)
VIDEOS = [f"{topic}-{n}" for topic in TOPICS for n in range(12)]


def watched() -> WatchLog:
    """Viewers who watch sports after cooking, which what is in the videos says nothing of; and a few of all the rest."""
    rng = np.random.default_rng(0)
    cooking, sports = (np.flatnonzero([name.startswith(topic) for name in VIDEOS]) for topic in ("cooking", "sports"))
    watches = [[int(rng.choice(cooking)), int(rng.choice(sports))] for _ in range(300)]
    watches += [rng.choice(len(VIDEOS), 2, replace=False).tolist() for _ in range(30)]
    return WatchLog(
        viewer_ids=tuple(str(number) for number in range(len(watches))),
        video_ids=tuple(VIDEOS),
        texts=tuple(perception(name, name.split("-")[0]).summary for name in VIDEOS),
        bounds=np.concatenate([[0], np.cumsum([len(each) for each in watches])]),
        videos=np.array([video for each in watches for video in each], np.int64),
        at=np.arange(sum(len(each) for each in watches)),
        interest=np.ones(sum(len(each) for each in watches), np.float32),
    )


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    log = watched()
    embeddings = np.stack([unpack_vector(perception(name, name.split("-")[0]).embedding) for name in VIDEOS])
    return export(train(log, embeddings, RECIPE), log)


@pytest.fixture
def release(files: dict[str, bytes], tmp_path: Path) -> Release:
    return write(tmp_path, "towers", files, figures={"hr": 0.5}, at=NOW)


def follow(world: World, *releases: Release) -> None:
    world.node.models.follow([Followed(RELEASES, release.name, release, NOW) for release in releases])


@pytest.fixture
def cook(world: World) -> World:
    world.add_viewer(likes="cooking", history={"cooking-1": 0.9})
    return world


async def test_towers_bring_what_is_watched_next(cook: World, release: Release) -> None:
    before = await cook.page()
    follow(cook, release)
    after = await cook.page()
    assert not any("wanted-next" in item.found_by for item in before.items)
    found = {item.card.video.video_id.split("-")[0] for item in after.items if "wanted-next" in item.found_by}
    assert "sports" in found
    scores = {item.card.video.video_id: item.parts["wanted-next"] for item in after.items}
    assert max(scores, key=scores.__getitem__).startswith("sports")
    assert all(-1 <= score <= 1 for score in scores.values())


async def test_towers_are_told_what_was_done_with_a_video_and_when(cook: World, release: Release) -> None:
    """Of those that were liked in earnest and are still there."""
    follow(cook, release)
    space = cook.node.feed.towers.of("u")
    assert space is not None
    seen = viewer("v", history={"cooking-1": 0.6, "gone": 1.0, "sports-2": 0.2, "cooking-3": 1.0, "cooking-2": 0.8})
    assert seen.history is not None
    at = [NOW - 10 * HOUR, NOW - 9 * HOUR, NOW - 8 * HOUR, NOW - 2 * HOUR, NOW]
    seen = replace(seen, history=replace(seen.history, seen_at=at))
    query = Query("r", "v", 10, NOW, np.random.default_rng(0), viewer=seen)
    wanted = (await WantedHydrator(cook.catalogue, cook.node.feed.towers).hydrate(query)).wanted
    assert wanted is not None
    rows, interest = cook.catalogue.rows(["cooking-1", "cooking-3", "cooking-2"]), np.array([0.6, 1.0, 0.8], np.float32)
    told = History(rows, interest, np.array([at[0], at[3], at[4]]))
    assert wanted.vector == pytest.approx(space.wanted(told))
    assert not np.allclose(wanted.vector, space.wanted(dataclasses.replace(told, interest=interest[::-1])))
    assert not np.allclose(wanted.vector, space.wanted(dataclasses.replace(told, at=np.full(3, NOW))))


async def test_a_slate_names_the_models_that_made_it(cook: World, release: Release) -> None:
    await cook.page()
    follow(cook, release)
    await cook.page()
    before, after = (slate.policy_version for slate in cook.published.of(SLATES) if isinstance(slate, Slate))
    assert before == "interest-1"
    assert after == f"interest-1 towers:{release.version}"


async def test_a_new_video_is_in_the_space_at_once_and_a_taken_down_one_leaves_it(cook: World, release: Release) -> None:
    follow(cook, release)
    cook.put(perception("sports-new", "sports", age_h=0.1))
    space = cook.node.feed.towers.of("u")
    assert space is not None
    assert len(space.index) == len(cook.catalogue) == 61
    row = cook.catalogue.row("sports-new")
    liked = History(cook.catalogue.rows(["cooking-1"]), np.ones(1, np.float32), np.array([NOW]))
    assert row in space.index.nearest(space.wanted(liked)[None], 24)
    takedown = Takedown(event_id="t", video_id="sports-new", at=NOW)
    cook.catalogue.follow([Followed(UPLOADS, "sports-new", takedown, NOW)])
    assert len(space.index) == 60
    assert row not in space.index.nearest(space.wanted(liked)[None], 60)


async def test_a_video_perceived_again_is_there_once(cook: World, release: Release) -> None:
    follow(cook, release)
    cook.put(perception("sports-3", "sports", stage="frames"))
    space = cook.node.feed.towers.of("u")
    assert space is not None
    assert len(space.index) == 60


async def test_a_viewer_without_a_history_gets_a_page_without_the_towers(cook: World, release: Release) -> None:
    follow(cook, release)
    page = await cook.page("stranger")
    assert len(page.items) == 10
    assert all(item.parts["wanted-next"] == 0 for item in page.items)


@pytest.mark.parametrize("damage", ["truncated", "another model", "gone"])
async def test_a_bad_release_changes_nothing_and_operators_are_told(cook: World, release: Release, damage: str) -> None:
    follow(cook, release)
    served = cook.node.feed.towers.of("u")
    root = Path(release.uri.removeprefix("file://")).parents[1]
    if damage == "another model":
        bad = write(root, "towers", {"model.onnx": b"not towers"}, figures={}, at=NOW + HOUR)
    else:
        bad = write(root, "towers", {"towers.json": b"{}", "video.onnx": b"1234"}, figures={}, at=NOW + HOUR)
        video = Path(bad.uri.removeprefix("file://")) / "video.onnx"
        video.unlink() if damage == "gone" else video.write_bytes(b"12")
    follow(cook, bad)
    assert cook.node.feed.towers.of("u") is served
    assert cook.node.models.states["towers"].version == release.version
    cook.node.ops.tick({})
    view = next(server for server in cook.node.ops.newest().view.servers if server.name == "towers")
    assert not view.ok
    assert bad.version in view.detail
    assert b'headwater_model_loads_total{model="towers",outcome="refused"} 1.0' in cook.node.metrics.text()
    # Asked for again, it is what operators wanted.
    follow(cook, release)
    assert cook.node.models.states["towers"].refused == ""


async def test_of_two_releases_the_newer_serves_and_a_tombstone_ends_it(
    cook: World, release: Release, files: dict[str, bytes], tmp_path: Path
) -> None:
    newer = write(tmp_path, "towers", files | {"note": b"newer"}, figures={}, at=NOW + HOUR)
    follow(cook, release, newer)
    assert cook.node.models.states["towers"].version == newer.version
    cook.node.models.follow([Followed(RELEASES, "towers", None, NOW)])
    assert cook.node.feed.towers.of("u") is None
    assert len((await cook.page()).items) == 10


async def test_a_release_of_a_name_that_nobody_serves_is_left_alone(cook: World, release: Release) -> None:
    follow(cook, replace(release, name="agent"))
    assert set(cook.node.models.states) == {"towers", "ranker"}


async def test_no_page_fails_while_towers_are_swapped(
    cook: World, release: Release, files: dict[str, bytes], tmp_path: Path
) -> None:
    versions = [write(tmp_path, "towers", files | {"note": bytes([n])}, figures={}, at=NOW + n * 1000) for n in range(4)]
    follow(cook, release)
    swaps = asyncio.create_task(asyncio.to_thread(lambda: [follow(cook, version) for version in versions]))
    pages = 0
    while not swaps.done():
        page = await cook.page(seed=pages)
        assert len(page.items) == 10
        assert any(item.parts["wanted-next"] for item in page.items)
        pages += 1
        await asyncio.sleep(0)
    await swaps
    assert pages > 0
    assert len(cook.catalogue._spaces) == 1


async def test_a_canary_of_the_towers_has_a_space_of_its_own_until_all_get_it(build: Build, release: Release) -> None:
    world: World = build(learning=LearningSettings(canary_share=0.5))
    world.put(*(perception(name, name.split("-")[0], author=f"a{n}") for n, name in enumerate(VIDEOS)))
    ids = [f"v{n}" for n in range(100)]
    both = {inside: next(name for name in ids if gets_canary("towers", name, 0.5) is inside) for inside in (True, False)}
    for name in both.values():
        world.add_viewer(name, likes="cooking", history={"cooking-1": 0.9})

    async def has_towers(*, inside: bool) -> bool:
        return any("wanted-next" in item.found_by for item in (await world.page(both[inside])).items)

    follow(world, replace(release, name="towers.canary"))
    assert await has_towers(inside=True)
    assert not await has_towers(inside=False)
    # All get it from where it is: no other space is filled.
    (space,) = world.catalogue._spaces
    follow(world, release)
    assert world.catalogue._spaces == [space]
    world.node.models.follow([Followed(RELEASES, "towers.canary", None, NOW)])
    assert world.catalogue._spaces == [space]
    assert await has_towers(inside=True)
    assert await has_towers(inside=False)


async def test_a_page_can_ask_for_any_video_that_it_can_find(
    cook: World, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the index of all videos is in the space of the towers already, also where its arrays had to grow for it."""
    follow(cook, release)
    space, add = cook.node.feed.towers.of("u"), cook.catalogue.index.add
    assert space is not None
    seen: list[int] = []

    def added(rows: Rows, vectors: NDArray[np.floating]) -> None:
        seen.append(int(rows.max()))
        assert len(space.vectors) > rows.max()
        add(rows, vectors)

    monkeypatch.setattr(cook.catalogue.index, "add", added)
    cook.catalogue.put([perception(f"more-{n}") for n in range(1_100)], now_ms=NOW)
    assert max(seen) > 1_024


async def test_a_space_that_fails_costs_no_video_its_place_in_the_feed(
    cook: World, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(cook, release)
    space = cook.node.feed.towers.of("u")
    assert space is not None

    def fails(*_: object) -> NoReturn:
        raise MemoryError("no room for a batch")

    monkeypatch.setattr(space.towers, "videos", fails)
    cook.put(perception("sports-new", "sports", age_h=0.1))
    assert "sports-new" in cook.catalogue
    assert len((await cook.page()).items) == 10


async def test_a_space_that_is_being_filled_at_a_stop_does_not_serve(cook: World, release: Release) -> None:
    cook.node.feed.close()
    follow(cook, release)
    assert cook.node.feed.towers.of("u") is None
    assert cook.catalogue._spaces == []


async def test_a_history_longer_than_towers_see_is_cut(world: World, release: Release) -> None:
    follow(world, release)
    world.add_viewer(history=dict.fromkeys(VIDEOS, 0.9))
    assert len((await world.page()).items) == 10
