"""Canaries in the feed: viewers of the share get the newer version, all others what serves, and slates say which."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from models.canaries import canary_of, gets_canary
from models.learning.releases import write
from models.settings import LearningSettings
from serving.canaries import Canaried
from streams.events import Release, Slate
from streams.follower import Followed
from streams.topics import RELEASES, SLATES
from tests.serving.conftest import NOW, Build, World, perception

SHARE = 0.3
IDS = [f"viewer-{number}" for number in range(200)]


class Held:
    """A slot that holds what it is given."""

    def __init__(self) -> None:
        self.current: str | None = None

    def load(self, folder: Path, version: str) -> None:
        self.current = version

    def unload(self) -> None:
        self.current = None


def drawn(model: str, *, inside: bool) -> str:
    """Return a viewer who is, or is not, one of the model's share."""
    return next(name for name in IDS if gets_canary(model, name, SHARE) is inside)


def test_a_share_of_viewers_gets_the_canary_and_all_others_what_serves() -> None:
    models = Canaried("ranker", Held, share=SHARE)
    assert {models.of(name) for name in IDS} == {None}
    models.everybody.load(Path(), "old")
    assert {models.of(name) for name in IDS} == {"old"}
    models.canary.load(Path(), "new")
    share = [name for name in IDS if models.of(name) == "new"]
    assert 0.2 < len(share) / len(IDS) < 0.4
    assert share == [name for name in IDS if gets_canary("ranker", name, SHARE)]
    assert {models.of(name) for name in IDS if name not in share} == {"old"}
    models.everybody.unload()
    assert {models.of(name) for name in IDS if name not in share} == {None}
    models.canary.unload()
    assert models.of(share[0]) is None


def test_the_share_of_one_model_is_not_that_of_another() -> None:
    shares = [{name for name in IDS if gets_canary(model, name, SHARE)} for model in ("agent", "ranker", "towers")]
    assert len(shares[0] & shares[1] & shares[2]) < min(map(len, shares)) / 2


def test_without_a_share_nobody_gets_a_canary() -> None:
    models = Canaried("ranker", Held, share=0.0)
    models.canary.load(Path(), "new")
    assert {models.of(name) for name in IDS} == {None}


def test_slots_have_the_names_of_releases() -> None:
    models = Canaried("ranker", Held, share=SHARE)
    assert models.slots() == {"ranker": models.everybody, "ranker.canary": models.canary}


# ── in a node ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def world(build: Build) -> World:
    world: World = build(ranker=None, learning=LearningSettings(canary_share=SHARE))
    world.put(*(perception(f"cooking-{n}", "cooking", author=f"author-{n}", age_h=1.0 + n) for n in range(20)))
    return world


@pytest.fixture
def release(ranker_folder: Path, tmp_path: Path) -> Release:
    files = {file.name: file.read_bytes() for file in ranker_folder.iterdir()}
    return write(tmp_path, "ranker", files, figures={}, at=NOW)


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
async def test_a_canary_that_is_taken_back_or_can_not_be_loaded_leaves_its_viewers_what_all_others_have(
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
    assert await ranked(world, inside)
