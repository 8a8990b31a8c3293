import numpy as np
import pytest

from models.perception.encoders import FrameReading, Sight
from models.perception.glance import is_sufficient, sufficiency
from models.perception.perceive import caption, seen, tags


def sight(
    classes: dict[str, float], things: dict[str, tuple[float, float]], *, embedding: float = 0.5, frames: int = 1
) -> Sight:
    """`frames` alike: classes with probabilities, things with confidence and count, an embedding of one direction."""

    def padded(values: list[float]) -> np.ndarray:
        return np.tile(np.array([*values, *([0.0] * (10 - len(values)))], np.float32), (frames, 1))

    def named(names: list[str]) -> list[list[str]]:
        return [[*names, *[f"nothing {at}" for at in range(10 - len(names))]]] * frames

    vectors = np.tile(embedding * np.eye(384, dtype=np.float32)[0], (frames, 1))
    return Sight(
        FrameReading(named(list(classes)), padded(list(classes.values())), vectors),
        named(list(things)),
        padded([confidence for confidence, _ in things.values()]),
        padded([count for _, count in things.values()]),
        np.zeros((frames, 384), np.float32),
    )


def test_things_come_before_classes_and_surer_ones_first() -> None:
    shown = tags(sight({"banjo": 0.4, "stage": 0.1}, {"person": (0.6, 0.7), "chair": (0.9, 1.0)}))
    assert caption(shown) == "chair, person, banjo, stage"
    assert [tag.confidence for tag in shown] == [0.9, 0.6, 0.4, 0.1]


def test_several_persons_are_people() -> None:
    assert caption(tags(sight({}, {"person": (0.8, 3.1)}))) == "people"


def test_what_is_hardly_seen_is_not_named() -> None:
    assert tags(sight({"banjo": 0.01}, {"dog": (0.04, 0.04)})) == ()


def test_a_frame_that_shows_one_thing_among_many_weighs_its_share() -> None:
    one, other = sight({"banjo": 0.6}, {}), sight({"harp": 0.3}, {})
    both = Sight(
        FrameReading(
            one.frames.labels + other.frames.labels,
            np.concatenate([one.frames.probabilities, other.frames.probabilities]),
            np.concatenate([one.frames.embeddings, other.frames.embeddings]),
        ),
        one.objects * 2,
        one.confidences.repeat(2, axis=0),
        one.counts.repeat(2, axis=0),
        one.object_embeddings.repeat(2, axis=0),
    )
    assert {tag.name: tag.confidence for tag in tags(both)} == {"banjo": pytest.approx(0.3), "harp": pytest.approx(0.15)}


def test_an_unsure_sight_is_short() -> None:
    assert np.linalg.norm(seen(sight({}, {}, embedding=0.1), None)) == pytest.approx(0.1)


def test_a_glance_is_surer_the_more_the_cover_agrees_with_the_title() -> None:
    title, other = np.eye(384, dtype=np.float32)[:2]
    cover = sight({}, {}, embedding=0.3)
    assert sufficiency(title, cover) > sufficiency(other, cover) > 0
    assert is_sufficient(title, sight({}, {}, embedding=0.5))
    assert not is_sufficient(other, sight({}, {}, embedding=0.05))


def test_a_cover_that_shows_nothing_does_not_suffice() -> None:
    assert not is_sufficient(np.eye(384, dtype=np.float32)[0], sight({}, {}, embedding=0.0))
