"""Instructions in words: "less politics, more cooking" becomes what a viewer wants less and more of.

A small grammar, not a model: it answers within microseconds, and a viewer can predict it. A clause is what is asked for, and
before it cues such as "no", "show me more" or "not interested in". Without a cue it is more of it; in a list, what the list
began with: "no politics, news or sports" is less of all three.
"""

import re
from collections.abc import Iterator

# Each wish costs an encoding and a share of every plan's score; a longer list is no instruction.
MOST = 8
# What somebody wants more of has a name shorter than this; it is shown again as a reason.
LONGEST = 100

_SENTENCES = re.compile(r"[;.!?:\n。！？；]+|\bbut\b|\bthough\b")
_LIST = re.compile(r"[,/，、]|\s[&+]\s|\b(?:and|or|nor|plus|also)\b")
_FILLER = r"(?:please|pls|hey|ok|okay|now|just|really|can you|could you|would you|i'd like you to|let's|then|maybe|to)"
_LESS_VERB = (
    r"(?:(?:i'm |i am )?(?:not interested in|no longer interested in|(?:so )?(?:tired|sick|bored) of|not into|done with)"
    r"|(?:i )?(?:don't|do not|dont|never) (?:show|give|recommend|want|need|like|care about|enjoy)"
    r"|stop(?: (?:showing|giving|recommending|with))?|(?:i )?(?:hate|dislike)|hide|remove|block|avoid|skip|mute|get rid of)"
)
_MORE_VERB = (
    r"(?:show|give|recommend|find|play"
    r"|(?:i )?(?:want|need|love|like|enjoy|prefer|would like|would love)|i'd (?:like|love|prefer)"
    r"|(?:i'm |i am )?(?:interested in|into))"
)
_OBJECT = r"(?:me|us|to see|to watch|seeing|watching|any|about)"
_LESS = (
    r"(?:no more|much less|a lot less|less|fewer|no|not|without|too much|too many|enough|instead of|rather than"
    r"|nothing(?: about| with)?)"
)
_MORE = r"(?:much more|a lot more|more|some|only|mostly|lots of|a lot of|plenty of|something(?: about| with)?)"
_CUES = re.compile(
    rf"\s*(?:{_FILLER}\s+)*(?:(?:(?P<less_verb>{_LESS_VERB})|(?P<more_verb>{_MORE_VERB}))\b(?:\s+{_OBJECT}\b)*\s*)?"
    rf"(?:(?:(?P<less>{_LESS})|(?P<more>{_MORE}))\b\s*)?(?:(?:of|about|the|these|those|this|that|any|a|an)\s+)*"
)
# Where one clause ends and the next begins with no comma between them.
_NEXT = re.compile(r"\s(?=(?:less|fewer|more|not|no more|without|instead of|rather than)\s)")
_TAIL = re.compile(
    r"(?:\s*\b(?:please|pls|thanks|thank you|videos?|clips?|content|stuff|posts?|for me|in my feed|any ?more|now|today))+$"
)


def wishes(text: str) -> list[tuple[str, float]]:
    """Return what `text` asks for, in order: a phrase in lower case and +1.0 for more of it, -1.0 for less.

    At most eight; of two wishes for the same thing the later holds. A text that asks for nothing gives an empty list.
    """
    found: dict[str, float] = {}
    for sentence in _SENTENCES.split(text.replace("’", "'").casefold()):
        weight = 1.0
        for item in _LIST.split(sentence):
            for phrase, cue in _clauses(item):
                weight = weight if cue is None else cue
                if phrase:
                    # Taken out first, so that the later of two wishes also has the later place.
                    found.pop(phrase, None)
                    found[phrase] = weight
    return list(found.items())[:MOST]


def _clauses(text: str) -> Iterator[tuple[str, float | None]]:
    """Yield each clause's phrase, empty where there is none, and the weight its cues say, None where it has no cue."""
    start: int | None = 0
    while start is not None:
        cues = _CUES.match(text, start)
        assert cues is not None  # every part of the pattern is optional
        following = _NEXT.search(text, cues.end())
        end = following.start() if following else len(text)
        cue = -1.0 if cues["less_verb"] or cues["less"] else 1.0 if cues["more_verb"] or cues["more"] else None
        yield _bare(text[cues.end() : end]), cue
        start = following.end() if following else None


def _bare(phrase: str) -> str:
    """Return `phrase` without what surrounds the thing that is asked for; empty where nothing is left."""
    bare = _TAIL.sub("", phrase.strip()).strip(" \t\r\"'#()[]-–—…*_~")[:LONGEST]
    return bare if any(character.isalnum() for character in bare) else ""
