"""What the user simulation agent answers: a thought, then candidates' numbers or a yes or no, and nothing else.

One form serves three times: the server holds the model to its pattern, what came is checked by it again, and rewards are earned
by it. What does not fit is no answer: titles matched as parts of a text, or the first of two answers taken, can be earned by
without any liking being understood (as in the reward that VRAgent-R1 released).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

# Without brackets, so that no thought can end itself and answer.
_THOUGHT = "[^<>]"
_PARTS = re.compile(rf"<think>({_THOUGHT}*)</think><answer>([^<>]*)</answer>")
YES, NO = "yes", "no"
# Where an answer goes on from, when no thought comes before it.
UNTHOUGHT = "<think></think><answer>"


class Unparseable(ValueError):
    """This is no answer. The message says what was expected and what came."""


@dataclass(frozen=True)
class Form:
    """The form of an answer after a thought of at most `thought` characters: a yes or no, or the numbers of candidates.

    Of `candidates`, numbered from 1, the first `places` are asked for, best first, none of them twice; 0 candidates ask for a
    yes or no.
    """

    candidates: int = 0
    places: int = 1
    thought: int = 400

    def __post_init__(self) -> None:
        if self.candidates and not 1 <= self.places <= self.candidates:
            raise ValueError(f"expected 1 to {self.candidates} places of as many candidates, got {self.places}")

    @property
    def pattern(self) -> str:
        """Return the regular expression that the server holds the model to. It can't say that no number comes twice."""
        return rf"<think>{_THOUGHT}{{0,{self.thought}}}</think><answer>{self.rest}"

    @property
    def rest(self) -> str:
        """Return the part of the pattern from the answer itself on, for a model that goes on from there."""
        answer = f"({YES}|{NO})"
        if self.candidates:
            number = f"({'|'.join(map(str, range(1, self.candidates + 1)))})"
            answer = ",".join([number] * self.places)
        return f"{answer}</answer>"

    def liked(self, text: str) -> bool:
        """Return whether the answer is yes. Raises Unparseable."""
        answer = self._answer(text)
        if answer not in (YES, NO):
            raise Unparseable(f"expected {YES} or {NO}, got {answer[:80]!r}")
        return answer == YES

    def chosen(self, text: str) -> tuple[int, ...]:
        """Return the places of candidates, from 0, best first. Raises Unparseable."""
        answer = self._answer(text)
        # No sign, blank or leading zero: one candidate has one name.
        numbers = [int(part) if re.fullmatch("[1-9][0-9]{0,3}", part) else 0 for part in answer.split(",")]
        if (
            len(numbers) != self.places
            or len(set(numbers)) != self.places
            or not all(1 <= n <= self.candidates for n in numbers)
        ):
            asked = f"{self.places} different number{'s' * (self.places > 1)} of 1 to {self.candidates}"
            raise Unparseable(f"expected {asked}, with commas between, got {answer[:80]!r}")
        return tuple(number - 1 for number in numbers)

    def written(self, thought: str, answer: bool | Sequence[int]) -> str:
        """Return an answer in this form: a yes or no, or places of candidates from 0. Brackets of a thought are left out."""
        said = (YES if answer else NO) if isinstance(answer, bool) else ",".join(str(place + 1) for place in answer)
        return f"<think>{re.sub('[<>]', '', thought)[: self.thought]}</think><answer>{said}</answer>"

    def _answer(self, text: str) -> str:
        parts = _PARTS.fullmatch(text)
        if parts is None:
            raise Unparseable(f"expected <think>…</think><answer>…</answer> and nothing else, got {text[:80]!r}")
        if len(parts[1]) > self.thought:
            raise Unparseable(f"expected a thought of at most {self.thought} characters, got {len(parts[1])}")
        return parts[2]
