import numpy as np

from models.perception.encoders import TextEncoder
from models.perception.topics import THRESHOLD, Topics, confidence


def test_the_taxonomy_has_short_distinct_names_viewers_can_read(encoder: TextEncoder) -> None:
    names = Topics(encoder).names
    assert {"cooking", "politics", "music", "sports", "animals"} <= set(names)
    assert all(name == name.casefold() and name.isalpha() for name in names)


def test_a_text_has_the_topic_whose_words_it_shares(encoder: TextEncoder) -> None:
    topics = Topics(encoder)
    (cooking,) = encoder.texts(["cooking, recipes, kitchen"])
    assert topics.of(cooking)[0].name == "cooking"


def test_a_text_near_no_topic_has_none(encoder: TextEncoder) -> None:
    (nothing,) = encoder.texts(["xyzzy plugh"])
    assert Topics(encoder).of(nothing) == ()


def test_tags_are_topics_without_a_doubt_and_named_once(encoder: TextEncoder) -> None:
    (cooking,) = encoder.texts(["cooking, recipes, kitchen"])
    found = Topics(encoder).of(cooking, tags=["#Cooking", " slow food ", "#"])
    assert [(topic.name, topic.confidence) for topic in found[:2]] == [("cooking", 1.0), ("slow food", 1.0)]
    assert len({topic.name for topic in found}) == len(found)


def test_topics_are_embedded_once(encoder: TextEncoder) -> None:
    topics = Topics(encoder)
    (text,) = encoder.texts(["cooking"])
    before = encoder.requests  # type: ignore[attr-defined]
    topics.of(text)
    topics.of(text)
    assert encoder.requests == before + 1  # type: ignore[attr-defined]


def test_directions_are_of_unit_length(encoder: TextEncoder) -> None:
    directions = Topics(encoder).directions(encoder.texts(["cats", "", "a long walk"]))
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-5)


def test_confidence_grows_with_similarity_and_is_a_guess_at_the_threshold() -> None:
    grid = [confidence(similarity) for similarity in np.linspace(-1, 1, 50)]
    assert grid == sorted(grid)
    assert 0.2 < confidence(THRESHOLD) < 0.3
    assert all(0 <= value <= 1 for value in grid)
