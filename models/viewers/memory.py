"""A viewer in words, for a language model: lasting tastes, this session, what was done with which topics, and the last videos.

Written anew each time from what the profile flow keeps (RecLLM-R1's profile and aggregates, VRAgent-R1's last eight videos), so
that nothing of it has to be forgotten with the viewer. What strangers wrote, titles and summaries, stands in quotes of JSON,
which it can't end, and without what a server would read as the end of a message.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from streams.features import UserActivity, UserHistory, ViewerFeatures
from streams.ports import Video
from streams.state.engagement import INTEREST

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
# More than eight hurt a model of 3 billion parameters (VRAgent-R1): the oldest say least of what comes next.
MOST_VIDEOS = 8
MOST_TOPICS = 3
# Of a title or a summary; strangers write more than is worth reading, and some scripts no blanks between words.
LONGEST_WORDS, LONGEST_CHARACTERS = 30, 200
# A server's tokenizer takes "<|im_end|>" or "[INST]" within a text for what ends a message: no model's has other brackets.
_NO_TOKENS = str.maketrans("<>[]", "‹›()")
# From this interest on what was done has this name; the names are the same for all time, for models learned by them.
_DONE = (
    (INTEREST["like"], "liked"),
    (INTEREST["follow"], "talked about"),
    (INTEREST["complete"], "finished"),
    (INTEREST["play"], "began"),
    (INTEREST["impression"], "passed by"),
    (INTEREST["skip"], "skipped"),
    (INTEREST["report"], "refused"),
)
_SPANS = ((0, DAY_MS, "In the last 24 hours"), (DAY_MS, 7 * DAY_MS, "In the 7 days before"), (7 * DAY_MS, 1 << 62, "Earlier"))


@dataclass(frozen=True)
class Seen:
    """One video of a viewer's history, what was done with it, in a word, and how long ago, ms."""

    video: Video
    done: str
    liked: bool
    disliked: bool
    ago_ms: int


def tokens_of(text: str) -> int:
    """Return about how many tokens a text has, rather too many: a token for 3.5 characters of ASCII, 0.75 for other bytes.

    SmolLM2's tokenizer has 4.2 characters a token in MicroLens' titles: of these this counts 1.2 times as many, and for one in
    a hundred a quarter too few. In Chinese, Thai and Korean it is within a fifth too.
    """
    ascii_only = sum(character < "\x80" for character in text)
    return math.ceil(ascii_only / 3.5 + 0.75 * (len(text.encode("utf-8", "replace")) - ascii_only))


def words_of(
    viewer: ViewerFeatures,
    find: Callable[[str], Video | None],
    *,
    now_ms: int,
    tokens: int,
    count: Callable[[str], int] = tokens_of,
) -> str:
    """Return a viewer in words of at most so many `tokens`, as `count` counts them: the oldest videos are the first to go.

    Videos that `find` does not know, being gone, are left out. Of a new viewer it says that they are new.
    """
    seen = list(seen_by(viewer.history, find, now_ms=now_ms))
    heading = "Last videos, the newest first:"
    lines = [*_tastes(viewer), *_by_topic(seen), *_session(viewer.activity, now_ms)]
    recent = [_line(each) for each in seen[:MOST_VIDEOS]]
    if not lines and not recent:
        return "A new viewer, of whom nothing is known yet."
    # What says most in few words first; how long a sitting is says least of what comes next.
    about: list[str] = []
    kept: list[str] = []

    def told(about: list[str], kept: list[str]) -> str:
        return "\n".join([*about, heading, *kept] if kept else about)

    for line in lines[: len(lines) - bool(viewer.activity)]:
        if count(told([*about, line], kept)) <= tokens:
            about.append(line)
    for line in recent:
        # From the newest on: the oldest are the first to go.
        if count(told(about, [*kept, line])) > tokens:
            break
        kept.append(line)
    for line in lines[len(lines) - bool(viewer.activity) :]:
        if count(told([*about, line], kept)) <= tokens:
            about.append(line)
    return told(about, kept)


def quoted(text: str) -> str:
    """Return what a stranger wrote on one line, in quotes that it can't end."""
    words = " ".join(text.split()[:LONGEST_WORDS])[:LONGEST_CHARACTERS]
    return json.dumps(_harmless(words), ensure_ascii=False)


def about(video: Video) -> str:
    """Return a video in words: its title, what a viewer would care about in it if that says more, and its topics.

    Topics stand as they do in what is told of a viewer, with a blank before each: to a tokenizer others are other words.
    """
    told = [quoted(video.title)]
    if video.summary and video.summary != video.title:
        told.append(quoted(video.summary))
    if video.topics:
        told.append(_harmless(f"about {', '.join(video.topics[:MOST_TOPICS])}"))
    return " ".join(told)


def seen_by(history: UserHistory | None, find: Callable[[str], Video | None], *, now_ms: int) -> Iterator[Seen]:
    """Yield the videos of a history that `find` knows, the newest first."""
    if history is None:
        return
    for video_id, weight, at in zip(
        reversed(history.video_ids), reversed(history.weights), reversed(history.seen_at), strict=True
    ):
        video = find(video_id)
        if video is not None:
            yield Seen(
                video,
                next((name for least, name in _DONE if weight >= least - 1e-6), "refused"),
                liked=weight >= INTEREST["complete"] - 1e-6,
                disliked=weight <= INTEREST["skip"] + 1e-6,
                ago_ms=max(0, now_ms - at),
            )


def _tastes(viewer: ViewerFeatures) -> Iterator[str]:
    if viewer.interests is not None and viewer.interests.topics:
        yield _harmless(f"Likes most: {', '.join(viewer.interests.topics[:MOST_TOPICS])}.")


def _session(activity: UserActivity | None, now_ms: int) -> Iterator[str]:
    if activity is None:
        return
    minutes = activity.session_watch_ms // MINUTE_MS
    yield f"This session: watched for {minutes} minute{'s' * (minutes != 1)}, skipped the last {activity.skip_streak} videos."


def _by_topic(seen: list[Seen]) -> Iterator[str]:
    """Yield what was done by topic and time: "In the 7 days before: finished or liked 4 cooking, skipped or refused 2 news."""
    for begin, end, span in _SPANS:
        within = [each for each in seen if begin <= each.ago_ms < end]
        told = [
            f"{verb} {', '.join(f'{many} {topic}' for topic, many in counts)}"
            for verb, counts in (
                ("finished or liked", _topics(each for each in within if each.liked)),
                ("skipped or refused", _topics(each for each in within if each.disliked)),
            )
            if counts
        ]
        if told:
            yield _harmless(f"{span}: {'; '.join(told)}.")


def _topics(seen: Iterator[Seen]) -> list[tuple[str, int]]:
    counts = Counter(topic for each in seen for topic in each.video.topics[:MOST_TOPICS] or ("other",))
    # Ties by name: the same viewer is the same words, for the server's cache and for a model that learned by them.
    return sorted(counts.items(), key=lambda topic: (-topic[1], topic[0]))[:MOST_TOPICS]


def _harmless(text: str) -> str:
    """Return it with brackets that no tokenizer makes anything of."""
    return text.translate(_NO_TOKENS)


def _line(seen: Seen) -> str:
    return f"- {seen.done} {_ago(seen.ago_ms)}: {about(seen.video)}"


def _ago(ms: int) -> str:
    """Return a length of time in words that stay the same for a while: each new one costs the server its cached prefix."""
    for unit, name in ((DAY_MS, "day"), (HOUR_MS, "hour"), (10 * MINUTE_MS, "")):
        if ms >= unit:
            many = ms // unit
            return f"{many} {name}{'s' * (many != 1)} ago" if name else f"{many * 10} minutes ago"
    return "just now"
