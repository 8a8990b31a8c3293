"""Step 4, read: the text in key frames, captions above all, which often say more of a video than its title."""

from collections.abc import Iterable

from models.perception.encoders import Writing

# Textures look like single letters: of 63 frames without a caption none has a line that passes both, and drawn captions do.
SURE = 0.8
SHORTEST = 3
# Signs of scripts that need fewer of them for a word: Chinese, Japanese, Korean.
DENSE_FROM, SHORTEST_DENSE = "\u2e80", 2
MOST = 12


def lines(writing: Writing) -> tuple[str, ...]:
    """Return what stands in frames, each line once, in the order in which it is seen; at most twelve."""
    found = dict.fromkeys(
        text
        for row, confidences in zip(writing.lines, writing.confidences, strict=True)
        for text, confidence in zip(map(_cleaned, row), confidences, strict=True)
        if confidence >= SURE and _is_word(text)
    )
    return tuple(found)[:MOST]


def joined(on_screen: Iterable[str]) -> str:
    """Return lines as one text."""
    return " ".join(on_screen)


def _cleaned(text: str) -> str:
    return " ".join(text.split())


def _is_word(text: str) -> bool:
    letters = [character for character in text if character.isalnum()]
    dense = sum(character >= DENSE_FROM for character in letters)
    return len(letters) >= SHORTEST or dense >= SHORTEST_DENSE
