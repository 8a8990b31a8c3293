"""Canaries in the feed: viewers of the share get the newer version, all others what serves, and slates say which."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from models.canaries import canary_of, gets_canary
from models.learning.releases import write
from models.settings import LearningSettings
from serving.versions import Versions
from streams.events import Release, Slate
from streams.follower import Followed
from streams.topics import RELEASES, SLATES
from tests.serving.conftest import NOW, Build, World, perception

SHARE = 0.3
IDS = [f"viewer-{number}" for number in range(200)]


class Loaded:
    """Makes models of releases, and knows which left."""

    def __init__(self) -> None:
        self.left: list[str] = []
        self.loads = 0
        self.versions = Versions("ranker", self.load, leave=self.left.append, share=SHARE)

    def load(self, folder: Path, version: str) -> str:
        self.loads += 1
        if "bad" in version:
            raise ValueError(version)
        return f"model {version}"

    def of_all(self, *, canary: bool) -> set[str | None]:
        """Return what viewers get who are in the canary's share, or are not."""
        return {self.versions.of(name) for name in IDS if gets_canary("ranker", name, SHARE) is canary}


@pytest.fixture
def loaded() -> Loaded:
    return Loaded()


def drawn(model: str, *, inside: bool) -> str:
    """Return a viewer who is, or is not, one of the model's share."""
    return next(name for name in IDS if gets_canary(model, name, SHARE) is inside)


def test_a_share_of_viewers_gets_the_canary_and_all_others_what_serves(loaded: Loaded) -> None:
    everybody, canary = loaded.versions.slots().values()
    assert loaded.of_all(canary=True) == loaded.of_all(canary=False) == {None}
    everybody.load(Path(), "old")
    canary.load(Path(), "new")
    assert loaded.of_all(canary=True) == {"model new"}
    assert loaded.of_all(canary=False) == {"model old"}
    everybody.unload()
    assert loaded.of_all(canary=False) == {None}
    assert loaded.left == ["model old"]


def test_a_canary_that_is_taken_back_leaves_and_its_viewers_get_what_all_others_do(loaded: Loaded) -> None:
    everybody, canary = loaded.versions.slots().values()
    everybody.load(Path(), "old")
    canary.load(Path(), "new")
    canary.unload()
    assert loaded.of_all(canary=True) == {"model old"}
    assert loaded.left == ["model new"]


def test_a_canary_that_is_promoted_is_not_loaded_again(loaded: Loaded) -> None:
    everybody, canary = loaded.versions.slots().values()
    everybody.load(Path(), "old")
    canary.load(Path(), "new")
    everybody.load(Path(), "new")
    canary.unload()
    assert loaded.of_all(canary=True) == loaded.of_all(canary=False) == {"model new"}
    assert (loaded.loads, loaded.left) == (2, ["model old"])


def test_what_can_not_be_loaded_changes_nothing(loaded: Loaded) -> None:
    everybody, canary = loaded.versions.slots().values()
    everybody.load(Path(), "old")
    for slot in (everybody, canary):
        with pytest.raises(ValueError, match="bad"):
            slot.load(Path(), "bad")
    assert loaded.of_all(canary=True) == loaded.of_all(canary=False) == {"model old"}
    assert loaded.left == []


def test_slots_have_the_names_of_releases_and_without_a_share_there_is_none_for_a_canary(loaded: Loaded) -> None:
    assert list(loaded.versions.slots()) == ["ranker", "ranker.canary"]
    assert list(Versions("ranker", loaded.load).slots()) == ["ranker"]


@pytest.fixture
def world(build: Build) -> World:
    world: World = build(ranker=None, learning=LearningSettings(canary_share=SHARE))
    world.put(*(perception(f"cooking-{n}", "cooking", author=f"author-{n}", age_h=1.0 + n) for n in range(20)))
    return world


@pytest.fixture
def release(ranker_folder: Path, tmp_path: Path) -> Release:
    return write(tmp_path, "ranker", files_of(ranker_folder), figures={}, at=NOW)


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def follow(world: World, name: str, release: Release | None) -> None:
    event = None if release is None else replace(release, name=name)
    world.node.models.follow([Followed(RELEASES, name, event, NOW)])


async def ranked(world: World, user_id: str) -> bool:
    """Return whether a ranker made a viewer's page."""
    return any("ranker-like" in item.parts for item in (await world.page(user_id)).items)


@pytest.mark.anyio
async def test_a_rankers_canary_makes_the_pages_of_its_share_only_and_then_everybodys(world: World, release: Release) -> None:
    inside, outside = drawn("ranker", inside=True), drawn("ranker", inside=False)
    follow(world, canary_of("ranker"), release)
    assert await ranked(world, inside)
    assert not await ranked(world, outside)
    told = {slate.user_id: slate.policy_version for slate in world.published.of(SLATES) if isinstance(slate, Slate)}
    assert told == {inside: f"interest-1 ranker:{release.version}", outside: "interest-1"}
    assert world.node.policy_version(inside) == told[inside]
    # It is promoted.
    follow(world, "ranker", release)
    follow(world, canary_of("ranker"), None)
    assert await ranked(world, inside)
    assert await ranked(world, outside)


@pytest.mark.anyio
async def test_a_canary_that_can_not_be_loaded_leaves_its_viewers_what_all_others_have(
    world: World, release: Release, tmp_path: Path
) -> None:
    inside = drawn("ranker", inside=True)
    follow(world, "ranker", release)
    bad = write(tmp_path, "ranker", {"ranker.json": b"{}"}, figures={}, at=NOW + 1_000)
    follow(world, canary_of("ranker"), bad)
    assert await ranked(world, inside)
    assert world.node.policy_version(inside) == f"interest-1 ranker:{release.version}"
    assert bad.version in world.node.models.states["ranker.canary"].refused
    follow(world, canary_of("ranker"), None)
    assert world.node.models.states["ranker.canary"].refused == ""


@pytest.mark.anyio
async def test_a_canary_that_is_taken_back_is_named_no_more(
    world: World, release: Release, ranker_folder: Path, tmp_path: Path
) -> None:
    inside = drawn("ranker", inside=True)
    newer = write(tmp_path, "ranker", files_of(ranker_folder) | {"note": b"newer"}, figures={}, at=NOW + 1_000)
    follow(world, "ranker", release)
    follow(world, canary_of("ranker"), newer)
    assert world.node.policy_version(inside) == f"interest-1 ranker:{newer.version}"
    follow(world, canary_of("ranker"), None)
    assert world.node.policy_version(inside) == f"interest-1 ranker:{release.version}"
    assert await ranked(world, inside)


@pytest.mark.anyio
async def test_a_node_that_starts_while_a_canary_runs_serves_both(world: World, release: Release) -> None:
    inside, outside = drawn("ranker", inside=True), drawn("ranker", inside=False)
    names = (canary_of("ranker"), "ranker")
    world.node.models.follow([Followed(RELEASES, name, replace(release, name=name), NOW) for name in names])
    assert await ranked(world, inside)
    assert await ranked(world, outside)


@pytest.mark.anyio
async def test_without_a_share_no_node_loads_a_canary(build: Build, release: Release) -> None:
    world: World = build(ranker=None, learning=LearningSettings(canary_share=0.0))
    follow(world, canary_of("ranker"), release)
    assert world.node.models.states.keys() == {"ranker", "towers"}
    assert world.node.policy_version(drawn("ranker", inside=True)) == "interest-1"
