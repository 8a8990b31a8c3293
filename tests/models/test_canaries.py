"""Who gets canaries: a share of viewers, the same ones for good, others for each model and for each experiment."""

from models.canaries import canary_of, gets_canary, serving
from streams.draw import place_of

SHARE = 0.3
IDS = [f"viewer-{number}" for number in range(1_000)]


def share_of(model: str) -> set[str]:
    return {name for name in IDS if gets_canary(model, name, SHARE)}


def test_it_is_as_large_as_is_said_and_stays_the_same() -> None:
    assert 250 < len(share_of("ranker")) < 350
    assert share_of("ranker") == share_of("ranker")
    assert not any(gets_canary("ranker", name, 0.0) for name in IDS)
    assert share_of("ranker") > {name for name in IDS if gets_canary("ranker", name, 0.1)}


def test_another_models_is_drawn_apart() -> None:
    both = share_of("ranker") & share_of("towers")
    assert 60 < len(both) < 120


def test_an_experiment_of_the_models_name_draws_others() -> None:
    arm = {name for name in IDS if place_of("ranker", name) < 0.5}
    assert 110 < len(share_of("ranker") & arm) < 190


def test_a_canarys_releases_have_a_name_that_no_model_has() -> None:
    assert canary_of("agent") == "agent.canary"


def test_a_canary_serves_its_share_and_the_model_all_others() -> None:
    slots = {"ranker": "old", "ranker.canary": "new", "towers": "other"}
    by_viewer = {name: serving(slots, "ranker", name, share=SHARE) for name in IDS}
    assert by_viewer == {name: "new" if name in share_of("ranker") else "old" for name in IDS}


def test_where_there_is_no_canary_the_model_serves_all_and_where_neither_is_nothing_does() -> None:
    assert {serving({"ranker": "old", "towers.canary": "new"}, "ranker", name, share=1.0) for name in IDS} == {"old"}
    first = {serving({"ranker.canary": "new"}, "ranker", name, share=SHARE) for name in IDS}
    assert first == {"new", None}
