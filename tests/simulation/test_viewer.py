"""Simulated viewers: the same seed behaves the same, and taste shows in what they do."""

from random import Random

from simulation.client import Item, Page
from simulation.viewer import Reaction, Traits, Viewer, draw_viewers

TOPICS = ["cooking", "politics", "music", "sports", "animals", "comedy", "travel"]


def page(*topics: str, request_id: str = "r1") -> Page:
    items = tuple(
        Item(video_id=f"v{position}", position=position, topics=(topic,), duration_ms=10_000)
        for position, topic in enumerate(topics)
    )
    return Page(request_id=request_id, user_id="sim-0", items=items)


def cook() -> Viewer:
    return Viewer("sim-0", {"cooking": 1.0, "politics": -1.0}, Traits(1.0, 0.5, 0.0), session_id="s")


def reactions(topic: str, pages: int = 200) -> list[Reaction]:
    rng = Random(1)
    return [cook().react(page(topic, request_id=f"r{number}"), rng, now=0) for number in range(pages)]


def share(found: list[Reaction], *actions: str) -> float:
    return sum(any(event.action in actions for event in reaction.interactions) for reaction in found) / len(found)


def test_the_same_seed_draws_the_same_audience_doing_the_same() -> None:
    first, second = (draw_viewers(20, TOPICS, Random(3)) for _ in range(2))
    assert first == second
    shown = page(*TOPICS)
    assert [v.react(shown, Random(4), now=1) for v in first] == [v.react(shown, Random(4), now=1) for v in second]


def test_an_audience_has_tastes_of_its_own() -> None:
    viewers = draw_viewers(50, TOPICS, Random(3))
    assert len({tuple(sorted(viewer.taste.items())) for viewer in viewers}) == 50
    for viewer in viewers:
        assert any(weight > 0 for weight in viewer.taste.values())
        assert set(viewer.taste) <= set(TOPICS)


def test_what_a_viewer_loves_is_watched_and_often_liked() -> None:
    assert share(reactions("cooking"), "complete", "progress") > 0.9
    assert 0.3 < share(reactions("cooking"), "like") < 0.7


def test_what_a_viewer_dislikes_is_skipped_and_never_liked() -> None:
    assert share(reactions("politics"), "skip", "not_interested") > 0.8
    assert share(reactions("politics"), "like", "share", "follow") == 0


def test_what_a_viewer_does_not_care_for_is_in_between() -> None:
    watched = ("complete", "progress")
    assert share(reactions("politics"), *watched) < share(reactions("travel"), *watched) < share(reactions("cooking"), *watched)


def test_every_interaction_names_its_page_and_place() -> None:
    reaction = cook().react(page("cooking", "music", "cooking"), Random(1), now=99)
    for event in reaction.interactions:
        assert (event.request_id, event.session_id, event.occurred_at) == ("r1", "s", 99)
        assert event.video_id == f"v{event.position}"
    assert len({event.event_id for event in reaction.interactions}) == len(reaction.interactions)


def test_watching_takes_no_longer_than_the_video() -> None:
    for reaction in reactions("cooking"):
        assert all(0 <= (event.watch_ms or 0) <= 10_000 for event in reaction.interactions)


def test_a_bored_viewer_leaves_and_says_what_it_wants() -> None:
    reaction = cook().react(page(*["politics"] * 20), Random(1), now=0)
    assert reaction.left
    assert reaction.instruction == "less politics, more cooking"
    assert reaction.interactions[-1].action == "leave"
    assert sum(event.action == "impression" for event in reaction.interactions) < 20


def test_an_empty_page_is_no_reason_to_do_anything() -> None:
    assert cook().react(page(), Random(1), now=0) == Reaction((), None, left=False)
