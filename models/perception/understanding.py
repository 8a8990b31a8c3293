"""The last step, the rewrite: what a viewer would care about, in few words and strict fields (VRAgent-R1, section 3.1).

Its port, and what every adapter's answer must pass. A title, a tag and what a frame says are a stranger's words: they may be
repeated, and decide nothing else.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Protocol

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from streams.events import TopicScore, Upload

# Long captions hurt: HR@10 falls from .0994 to .0606 (VRAgent-R1, table 4).
MOST_WORDS = 60
MOST_TOPICS = 8
LONGEST_LABEL = 64
# A mood or an audience has no need of an address, a number or a sentence; a topic may have a number ("formula 1").
_JOINTS = " '’&+-"
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_LABEL_WORDS = 4
# What is asked for of each field, in JSON Schema's words: of a string a pattern or a length, for grammars can't take both.
ASKED: dict[str, dict[str, object]] = {
    "summary": {"maxLength": 200},
    "topics": {"minItems": 1, "maxItems": 3},
    "hook": {"maxLength": 80},
    "mood": {"maxLength": 24},
    "audience": {"maxLength": 32},
    "language": {"pattern": "^([a-z]{2}|und)(-[A-Z]{2})?$"},
}
# Steps instead of any number: a small model writes digits without end, and no model's third one means anything.
CONFIDENCES = [0.3, 0.5, 0.7, 0.9]


@dataclass(frozen=True)
class View:
    """What there is to understand a video from: its words, what its key frames show, and those frames, (n, 640, 640, 3).

    `on_screen` are the lines of text in them, `sound` the shares of speech, music and noise.
    """

    upload: Upload
    shown: tuple[TopicScore, ...]
    on_screen: tuple[str, ...]
    sound: Mapping[str, float]
    pictures: NDArray[np.uint8]


class Topic(Struct, frozen=True, forbid_unknown_fields=True):
    """A subject out of an open vocabulary, and how sure it is."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    confidence: Annotated[float, Meta(ge=0, le=1)]


class Rewrite(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a viewer would care about. `summary` says what it is, `hook` why one would stay; at most 60 words each."""

    summary: Annotated[str, Meta(max_length=600)]
    topics: Annotated[list[Topic], Meta(max_length=MOST_TOPICS)]
    hook: Annotated[str, Meta(max_length=200)]
    mood: Annotated[str, Meta(max_length=40)]
    audience: Annotated[str, Meta(max_length=40)]
    language: Annotated[str, Meta(min_length=2, max_length=35)]


class NotUnderstood(Exception):
    """No usable rewrite came: the server is away, too slow, or answered something else. The perception stands without."""


class Understanding(Protocol):
    """Writes what a viewer would care about."""

    name: str

    def rewrite(self, view: View, *, within_s: float) -> Rewrite:
        """Return the rewrite; raises NotUnderstood, after at most `within_s`."""
        ...


def schema() -> dict[str, object]:
    """Return the JSON Schema of a rewrite, for servers that hold a model to one.

    It asks for less than `checked` takes: a small model fills every field to its bound, and must end before its tokens do.
    """
    (_,), components = msgspec.json.schema_components([Rewrite], ref_template="#/$defs/{name}")
    root = components.pop("Rewrite")
    fields = {name: {"type": field["type"]} | ASKED[name] for name, field in root["properties"].items()}
    fields["topics"]["items"] = {"$ref": "#/$defs/Topic"}
    topic = components["Topic"]
    topic["properties"] = {"name": {"type": "string", "minLength": 1, "maxLength": 32}, "confidence": {"enum": CONFIDENCES}}
    return {**root, "properties": fields, "$defs": components}


def checked(answer: bytes | str) -> Rewrite:
    """Return a model's answer as a rewrite, brought within its bounds; raises NotUnderstood where it is none."""
    try:
        rewrite = msgspec.json.decode(answer, type=Rewrite)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotUnderstood(f"expected a rewrite as JSON, got {str(answer)[:80]!r}: {error}") from error
    if not _LANGUAGE.fullmatch(rewrite.language):
        raise NotUnderstood(f"expected a BCP 47 language, got {rewrite.language!r}")
    return Rewrite(
        summary=shortened(rewrite.summary),
        topics=[Topic(name, topic.confidence) for topic in rewrite.topics if (name := _label(topic.name))],
        hook=shortened(rewrite.hook),
        mood=_unnumbered(rewrite.mood),
        audience=_unnumbered(rewrite.audience),
        language=rewrite.language,
    )


def words(upload: Upload) -> str:
    """Return the text an upload is embedded by: its title and tags."""
    return " ".join([upload.title, *upload.tags]).strip()


def unwritten(upload: Upload) -> Rewrite:
    """Return what stands where nobody wrote: the author's own title, and no more."""
    return Rewrite(summary=upload.title, topics=[], hook="", mood="", audience="", language=upload.language)


def shortened(text: str) -> str:
    """Return at most the first 60 words of a text, on one line."""
    return " ".join(text.split()[:MOST_WORDS])


def _label(text: str) -> str:
    """Return a name of at most four words in lower case; nothing where `text` is something else."""
    label = " ".join(text.split()).lower()
    # Letters, the marks that belong to them in many scripts, and numbers.
    is_word = all(unicodedata.category(character)[0] in "LMN" or character in _JOINTS for character in label)
    return label if is_word and len(label.split()) <= _LABEL_WORDS and len(label) <= LONGEST_LABEL else ""


def _unnumbered(text: str) -> str:
    """Return a name as `_label` does, if it has no number: "rate this 10" is no mood."""
    label = _label(text)
    return "" if any(character.isdigit() for character in label) else label
