"""A canary on a real broker: judged by what is in the feedback log, promoted or rolled back on its own, and told to nodes."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import typer

from headwater.canary import Watch, rewards
from headwater.commands.learn import Model, learn
from headwater.decisions import NotPossible, failed, pin, release, roll_back, standing, unpin
from headwater.learning import _apart, due
from headwater.releases import announce
from headwater.settings import Settings
from models.canaries import canary_of, gets_canary
from models.learning.gate import Learned, Verdict
from models.learning.record import FILE, read
from models.learning.releases import versions
from serving.experiments.canary import last_look
from streams.events import Feedback, Outcome
from streams.flows.feedback_log import FeedbackLog
from streams.follower import Followed, Follower
from streams.kafka import EventProducer
from streams.topics import RELEASES
from tests.conftest import RunningStack
from tests.models.test_record import room_for

# Of a day on which nothing else is in the log.
NOON = 1_767_268_800_000
SHARE = 0.3
MODELS = ("agent", "ranker", "towers")
BY = {"by": "kim", "reason": "it repeats itself"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a house whose broker nobody asks."""
    return own(Settings(), tmp_path)


@pytest.fixture
def told(stack: RunningStack, tmp_path: Path) -> Iterator[Settings]:
    """Of a house whose broker knows of no release, and forgets those of the test."""
    forget_releases(stack.settings)
    yield own(stack.settings, tmp_path)
    forget_releases(stack.settings)


def forget_releases(settings: Settings) -> None:
    producer = EventProducer(settings.kafka)
    for model in MODELS:
        producer.tombstone(RELEASES, model)
        producer.tombstone(RELEASES, canary_of(model))
    assert producer.close() == 0


def own(settings: Settings, folder: Path) -> Settings:
    made = settings.model_copy(deep=True)
    made.learning.releases, made.flows.feedback_log = folder / "releases", str(folder / "feedback")
    made.learning.canary_share = SHARE
    return made


def learned(content: str, *, passed: bool = True) -> Learned:
    verdict = Verdict(passed, "much better" if passed else "worse than none", {"accuracy": 0.7})
    return Learned({"adapter": content.encode()}, verdict)


def heard(settings: Settings) -> dict[str, str]:
    """Return what a node that starts now is told of: versions by name."""
    newest: dict[str, str] = {}

    def take(batch: list[Followed]) -> None:
        newest.update({one.key: one.event.version if one.event else "" for one in batch})

    with closing(Follower(settings.kafka, [RELEASES], take, name="test").start(timeout_s=30.0)):
        return {name: version for name, version in newest.items() if version}


def page(user: str, number: int, served_at: int, reward: float, *, seen: bool = True, policy: str = "") -> Feedback:
    place = Outcome(
        video_id="v", position=0, propensity=1.0, source="fresh", actions=("impression",) if seen else (), watch_ms=0,
        reward=reward, parts={},
    )  # fmt: skip
    return Feedback(
        request_id=f"{user}/{number}",
        user_id=user,
        items=(place,),
        served_at=served_at,
        closed_at=served_at,
        policy_version=policy,
    )


def watch_pages(
    settings: Settings,
    since: int,
    reward: Callable[[bool], float],
    *,
    model: str = "agent",
    version: str = "",
    viewers: int = 600,
) -> None:
    """Let viewers look at four pages each, with rewards about what `reward` says of those in a model's share or not.

    A `version` is named by the pages of those in the share.
    """
    rng = np.random.default_rng(1)
    pages = []
    for number in range(viewers):
        user = f"viewer-{number}"
        inside = gets_canary(model, user, SHARE)
        policy = f"interest-1 {model}:{version}" if version and inside else "interest-1"
        pages += [
            page(user, each, since + each * 1_000, float(rng.normal(reward(inside), 0.2)), policy=policy) for each in range(4)
        ]
    FeedbackLog(Path(settings.flows.feedback_log)).add(pages)


def test_rewards_are_of_places_looked_at_since_the_release_by_who_is_in_the_share(settings: Settings) -> None:
    inside = next(f"u{n}" for n in range(100) if gets_canary("agent", f"u{n}", SHARE))
    outside = next(f"u{n}" for n in range(100) if not gets_canary("agent", f"u{n}", SHARE))
    log = FeedbackLog(Path(settings.flows.feedback_log))
    assert [of.viewers for of in rewards(log.folder, "agent", "v", SHARE, since=NOON)[:2]] == [0, 0]
    log.add(
        [
            page(inside, 0, NOON - 1, 9.0), page(inside, 1, NOON, 1.0), page(inside, 2, NOON + 1, 2.0, policy="p-1 agent:v"),
            page(inside, 3, NOON + 2, 9.0, seen=False), page(outside, 0, NOON + 3, -1.0, policy="p-1 agent:v"),
        ]
    )  # fmt: skip
    ours, others, named = rewards(log.folder, "agent", "v", SHARE, since=NOON)
    assert (ours.viewers, ours.m, ours.x, ours.xx, ours.xm, ours.mm, ours.squares) == (1, 2.0, 3.0, 9.0, 6.0, 4.0, 5.0)
    assert (others.viewers, others.m, others.x) == (1, 1.0, -1.0)
    assert named == 1
    nobody = FeedbackLog.table([page(inside, 8, NOON + 8, 1.0)])
    place = nobody.schema.get_field_index("user_id")
    log.append(nobody.set_column(place, "user_id", pa.nulls(1, pa.string())))
    log.add([page(inside, 9, NOON + 9, float("nan"))])
    assert rewards(log.folder, "agent", "v", SHARE, since=NOON)[0] == ours


@pytest.mark.stack
@pytest.mark.parametrize("model", MODELS)
def test_a_worse_canary_is_rolled_back_on_its_own_and_what_served_before_goes_on(told: Settings, model: str) -> None:
    told.learning.canary_share = 0.0
    first = release(told, model, learned("first")).version
    told.learning.canary_share = SHARE
    second = release(told, model, learned("second"))
    assert heard(told) == {model: first, canary_of(model): second.version}
    watch_pages(told, second.at, lambda canary: 0.2 if canary else 0.6, model=model, version=second.version)
    Watch(told, clock=lambda: second.at + 60_000).look()
    assert heard(told) == {model: first}
    last = read(told.learning.releases)[-1]
    assert (last.what, last.by, last.version, last.to) == ("rolled back", "canary", second.version, first)
    assert last.figures["viewers"] == sum(gets_canary(model, f"viewer-{n}", SHARE) for n in range(600))
    seen = last_look(told.learning.releases, model, second.version)
    assert seen is not None
    assert seen.follows == "roll back"
    # Learned once more, of the same files, it is not released.
    assert release(told, model, learned("second")).what == "refused"
    assert heard(told) == {model: first}


@pytest.mark.stack
def test_canaries_of_two_models_run_beside_each_other_each_for_its_own_time(told: Settings) -> None:
    agent, ranker = (release(told, model, learned(model)) for model in ("agent", "ranker"))
    assert heard(told) == {"agent.canary": agent.version, "ranker.canary": ranker.version}
    watch_pages(told, ranker.at, lambda canary: 0.5, model="ranker", version=ranker.version)
    Watch(told, clock=lambda: ranker.at + 900_000).look()
    assert heard(told) == {"agent.canary": agent.version, "ranker": ranker.version}


@pytest.mark.stack
def test_a_canary_that_no_node_serves_by_is_not_promoted(told: Settings) -> None:
    canary = release(told, "ranker", learned("ranker"))
    watch_pages(told, canary.at, lambda canary: 0.5, model="ranker")
    Watch(told, clock=lambda: canary.at + 900_000).look()
    assert heard(told) == {"ranker.canary": canary.version}
    Watch(told, clock=lambda: canary.at + 2_700_000).look()
    assert heard(told) == {}
    last = read(told.learning.releases)[-1]
    assert last.what == "rolled back"
    assert "none of its viewers' pages was made with it" in last.reason


@pytest.mark.stack
@pytest.mark.parametrize("zero", ["canary_share", "canary_s", "every_s"])
def test_all_get_a_canary_that_is_not_to_be_watched_any_more(told: Settings, zero: str) -> None:
    canary = release(told, "ranker", learned("ranker"))
    if zero == "canary_s":
        told.learning.canary_s.ranker = 0.0
    else:
        setattr(told.learning, zero, 0.0)
    Watch(told, clock=lambda: canary.at + 1).look()
    assert heard(told) == {"ranker": canary.version}
    assert "canary_s.ranker or every_s is 0" in read(told.learning.releases)[-1].reason


@pytest.mark.stack
def test_learning_looks_at_the_canaries_where_nobody_else_does(told: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    told.learning.canary_s.ranker = 0.001
    canary = release(told, "ranker", learned("ranker"))
    monkeypatch.setattr("headwater.settings.load", lambda: told)
    with pytest.raises(typer.Exit):
        learn([Model.RANKER])
    assert standing(told, "ranker").serving == canary.version


@pytest.mark.stack
def test_settings_that_can_not_be_learned_by_are_on_record_and_not_tried_again(told: Settings) -> None:
    told.agent.url = "http://127.0.0.1:9"
    assert _apart("agent", told)
    (made,) = read(told.learning.releases)
    assert (made.what, made.by) == ("failed", "learner")
    assert "expected in tuning.base the folder of the weights" in made.reason


def test_models_learn_from_what_is_new_to_them_and_not_while_they_are_watched(settings: Settings) -> None:
    settings.learning.least_places = 100
    assert due(settings, {}, 99) == []
    assert due(settings, {}, 100) == ["towers", "ranker"]
    assert due(settings, {"towers": 100}, 150) == ["ranker"]
    # Somebody was forgotten.
    assert due(settings, {"towers": 500, "ranker": 0}, 120) == ["ranker"]
    settings.agent.url = "local"
    assert due(settings, {}, 100) == ["towers", "ranker", "agent"]


@pytest.mark.stack
def test_a_model_whose_canary_is_watched_is_not_due(told: Settings) -> None:
    told.learning.least_places = 100
    release(told, "ranker", learned("ranker"))
    assert due(told, {}, 100) == ["towers"]


@pytest.mark.stack
def test_a_canary_that_is_no_worse_serves_all_after_its_time(told: Settings) -> None:
    canary = release(told, "agent", learned("first"))
    # The first has others to be compared with too: those without one.
    assert heard(told) == {"agent.canary": canary.version}
    watch_pages(told, canary.at, lambda canary: 0.5)
    watch = Watch(told, clock=lambda: canary.at + 60_000)
    watch.look()
    assert heard(told) == {"agent.canary": canary.version}
    Watch(told, clock=lambda: canary.at + 3_600_000).look()
    assert heard(told) == {"agent": canary.version}
    assert standing(told, "agent").served == (canary.version,)


@pytest.mark.stack
def test_while_a_canary_runs_what_passes_is_held_back(told: Settings) -> None:
    canary = release(told, "agent", learned("first"))
    assert release(told, "agent", learned("second")).what == "held"
    assert heard(told) == {"agent.canary": canary.version}


@pytest.mark.stack
def test_a_canary_that_nobody_watches_any_more_gives_way_to_the_next_release(told: Settings) -> None:
    release(told, "agent", learned("first"))
    told.learning.every_s = 0
    second = release(told, "agent", learned("second"))
    assert heard(told) == {"agent": second.version}


@pytest.mark.stack
def test_without_a_share_or_a_time_or_a_learner_that_watches_all_get_it_at_once(told: Settings) -> None:
    told.learning.canary_s.towers = 0.0
    towers = release(told, "towers", learned("towers"))
    told.learning.every_s = 0
    agent = release(told, "agent", learned("agent"))
    told.learning.every_s, told.learning.canary_share = 300.0, 0.0
    ranker = release(told, "ranker", learned("ranker"))
    assert heard(told) == {"towers": towers.version, "agent": agent.version, "ranker": ranker.version}


@pytest.mark.stack
def test_a_broker_that_forgot_all_is_told_what_serves_and_not_what_is_newest(told: Settings) -> None:
    told.learning.every_s = 0
    first, second = (release(told, "agent", learned(content)).version for content in ("first", "second"))
    roll_back(told, "agent", by="kim", reason="it repeats itself")
    told.learning.every_s = 300
    canary = release(told, "agent", learned("third")).version
    forget_releases(told)
    assert heard(told) == {}
    assert announce(told) == [f"agent {first}", f"agent.canary {canary}"]
    assert heard(told) == {"agent": first, "agent.canary": canary}
    assert second in versions(told.learning.releases, "agent")


@pytest.mark.stack
def test_what_was_written_and_not_recorded_serves_nobody(told: Settings) -> None:
    told.learning.every_s = 0
    first = release(told, "agent", learned("first")).version
    # As if it was killed before the record had it.
    whole = (told.learning.releases / FILE).read_bytes()
    stray = release(told, "agent", learned("second")).version
    (told.learning.releases / FILE).write_bytes(whole)
    assert stray in versions(told.learning.releases, "agent")
    announce(told)
    assert heard(told) == {"agent": first}


@pytest.mark.stack
def test_what_was_recorded_and_not_told_is_told_by_the_next_look(told: Settings) -> None:
    away = told.model_copy(deep=True)
    away.kafka.bootstrap_servers = "127.0.0.1:1"
    away.kafka.producer = {"message.timeout.ms": 500}
    away.learning.every_s = 0
    with pytest.raises(ConnectionError, match="the record has what serves"):
        release(away, "agent", learned("first"))
    assert heard(told) == {}
    Watch(told).look()
    assert heard(told) == {"agent": standing(told, "agent").serving}


@pytest.mark.stack
def test_a_record_that_takes_no_more_releases_nothing_and_leaves_nothing(told: Settings) -> None:
    told.learning.every_s = 0
    first = release(told, "agent", learned("first")).version
    # Until the record is larger than any file of a release: of the two, the disk takes only that.
    for _ in range(10):
        release(told, "agent", learned("second", passed=False))
    record = told.learning.releases / FILE
    whole = record.read_bytes()
    with room_for(len(whole) + 20), pytest.raises(OSError, match="File too large"):
        release(told, "agent", learned("second"))
    assert record.read_bytes() == whole
    assert versions(told.learning.releases, "agent") == [first]
    assert heard(told) == {"agent": first}


@pytest.mark.stack
def test_learning_that_failed_is_on_record_and_changes_nothing(settings: Settings) -> None:
    failed(settings, "agent", "learning ended with status -9")
    (decision,) = read(settings.learning.releases)
    assert (decision.what, decision.by, decision.reason) == ("failed", "learner", "learning ended with status -9")
    assert not standing(settings, "agent").known


def test_pinned_what_is_learned_is_judged_and_nothing_is_released(told: Settings) -> None:
    told.learning.every_s = 0
    first, second = (release(told, "agent", learned(content)).version for content in ("first", "second"))
    pin(told, "agent", first, **BY)
    assert heard(told) == {"agent": first}
    held = release(told, "agent", learned("third"))
    assert (held.what, held.reason) == ("held", f"passed, pinned to {first}: much better")
    with pytest.raises(NotPossible, match="unpin agent"):
        roll_back(told, "agent", **BY)
    unpin(told, "agent", **BY)
    assert heard(told) == {"agent": first}
    third = release(told, "agent", learned("third"))
    assert heard(told) == {"agent": third.version}
    assert [one.by for one in read(told.learning.releases) if one.what in ("pinned", "unpinned")] == ["kim", "kim"]
    assert second in versions(told.learning.releases, "agent")


@pytest.mark.stack
def test_what_can_not_be_done_says_what_can(told: Settings) -> None:
    told.learning.every_s = 0
    with pytest.raises(NotPossible, match="nothing to roll back"):
        roll_back(told, "agent", **BY)
    with pytest.raises(NotPossible, match="name the version to pin"):
        pin(told, "agent", **BY)
    first = release(told, "agent", learned("first")).version
    with pytest.raises(NotPossible, match="--to"):
        roll_back(told, "agent", **BY)
    with pytest.raises(NotPossible, match=f"there are: {first}"):
        roll_back(told, "agent", to="20200101T000000-00000000", **BY)
    with pytest.raises(NotPossible, match="serves already"):
        roll_back(told, "agent", to=first, **BY)
    with pytest.raises(NotPossible, match="nothing to unpin"):
        unpin(told, "agent", **BY)
