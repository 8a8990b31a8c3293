"""Step 3, perceive: what is to be seen in key frames, in names with confidences, and as one vector in the space of texts."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from models.perception.encoders import Sight
from streams.events import TopicScore
from streams.features import Vector

# More of a person than this in the mean picture is more than one.
PEOPLE_FROM = 1.7
# A share of the key frames' confidence from which a thing or a class is worth a word of the caption: of 21 clips, captions with
# these find their label at a mean reciprocal rank of .62, with twice as much .61 and .51 (fewer words), with half .61.
OBJECT_FROM, CLASS_FROM = 0.05, 0.02
MOST_CLASSES = 8
# How much things count beside classes in the vector: the classifier is trained on the middle thing, the detector on people.
OBJECTS_WEIGHT = 0.5
# How much the caption, read as one sentence, counts beside them: it knows that a person with a bat plays, where names don't.
CAPTION_WEIGHT = 0.3


def tags(sight: Sight) -> tuple[TopicScore, ...]:
    """Return what key frames show, things before classes and surer first, each with its confidence."""
    things = _mean(sight.objects, sight.confidences)
    crowd = _mean(sight.objects, sight.counts).get("person", 0.0) > PEOPLE_FROM * things.get("person", 1.0)
    named = {("people" if name == "person" and crowd else name): score for name, score in things.items() if score > OBJECT_FROM}
    for name, score in list(_mean(sight.frames.labels, sight.frames.probabilities).items())[:MOST_CLASSES]:
        if score > CLASS_FROM:
            named.setdefault(name, score)
    return tuple(TopicScore(name, round(min(score, 1.0), 3)) for name, score in named.items())


def caption(shown: Iterable[TopicScore]) -> str:
    """Return tags as one text."""
    return ", ".join(tag.name for tag in shown)


def seen(sight: Sight, caption: Vector | None) -> Vector:
    """Return what key frames show in the space of texts, (384,); unsure is short. `caption` is that of their tags, if any."""
    vector: Vector = sight.frames.embeddings.mean(axis=0) + OBJECTS_WEIGHT * sight.object_embeddings.mean(axis=0)
    if caption is not None:
        vector = vector + CAPTION_WEIGHT * caption
    return vector


def _mean(names: Sequence[Sequence[str]], scores: Vector) -> dict[str, float]:
    means: defaultdict[str, float] = defaultdict(float)
    for row, values in zip(names, scores, strict=True):
        for name, value in zip(row, values, strict=True):
            means[name] += float(value) / len(names)
    return dict(sorted(means.items(), key=lambda item: -item[1]))
