"""What texts begin with alike is computed once: where answers are sampled, learned from, and compared.

All questions about a viewer begin alike, and the answers to a question are a few tokens each after a prompt of hundreds. Texts
that share their beginning are one row of a batch, a prefix tree: each token stands in it once, at the position that it has in
its text, and sees what comes before it in its own text only (tree attention). Gradients go through what is shared.
"""

from collections.abc import Iterable, Sequence
from itertools import takewhile
from operator import eq
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# In one tree, unless one prompt and its answers are longer: each token is compared with each other one of its tree.
MOST_TOKENS = 1024


def log_probs(
    model: Any, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], *, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each token of n answers, and the entropy in its place, (n, longest answer) each.

    Each answer goes on from its prompt, both in tokens; after its end there are zeros. No gradient goes through the entropy.
    """
    trees, of, last = _planted(prompts, list(map(len, answers)))
    # What each token of an answer goes on from.
    before = [
        [node, *trees[tree].add(answer[:-1], after=node)] if answer else []
        for tree, node, answer in zip(of, last, answers, strict=True)
    ]
    asked: list[dict[int, None]] = [{} for _ in trees]
    for tree, nodes in zip(of, before, strict=True):
        asked[tree].update(dict.fromkeys(nodes))
    logits, row_of = _Grove(model, trees).computed([range(len(tree)) for tree in trees], asked)
    likely = torch.log_softmax(logits.float() / temperature, dim=-1)
    with torch.no_grad():
        entropy = -(likely.exp() * likely).sum(dim=-1)
    rows = _table([[row_of[tree][node] for node in nodes] for tree, nodes in zip(of, before, strict=True)], logits.device)
    said = _table([[1] * len(answer) for answer in answers], logits.device)
    tokens, grown = _table(answers, logits.device), torch.tensor(of, device=logits.device)[:, None]
    return likely[grown, rows, tokens] * said, entropy[grown, rows] * said


@torch.no_grad()
def sampled(
    model: Any, prompts: Sequence[Sequence[int]], each: int, *, longest: int, ends: int, temperature: float = 1.0
) -> tuple[list[list[int]], list[list[float]]]:
    """Return `each` answers to each prompt, one prompt's in a row, as tokens, with the log-probability of each token.

    An answer ends with the token `ends`, or after the `longest` number of them.
    """
    trees, of, last = _planted(prompts, [each * longest] * len(prompts))
    grove = _Grove(model, trees, grows=True)
    # Answers that have come to the same node, at first all to one prompt, go on from the same chances.
    standing: dict[tuple[int, int], list[int]] = {}
    for row, place in enumerate(zip(of, last, strict=True)):
        standing.setdefault(place, []).extend(range(row * each, (row + 1) * each))
    new: list[Iterable[int]] = [range(len(tree)) for tree in trees]
    tokens: list[list[int]] = [[] for _ in range(each * len(prompts))]
    chances: list[list[float]] = [[] for _ in tokens]
    for _ in range(longest):
        if not standing:
            break
        asked: list[dict[int, None]] = [{} for _ in trees]
        for tree, node in standing:
            asked[tree][node] = None
        logits, row_of = grove.computed(new, asked)
        rows = [row_of[tree][node] for tree, node in standing]
        likely = torch.log_softmax(logits[[tree for tree, _ in standing], rows].float() / temperature, dim=-1)
        # By sums over the vocabulary, in which what is unlikely must not vanish. As many for each place as the fullest needs,
        # but two at least: to draw one alone, PyTorch draws a number for each word, and takes twenty times as long.
        drawn = torch.multinomial(likely.double().exp(), max(2, *map(len, standing.values())), replacement=True)
        grown = [len(tree) for tree in trees]
        going: dict[tuple[int, int], list[int]] = {}
        for place, draws, of_draws in zip(standing, drawn.tolist(), likely.gather(1, drawn).tolist(), strict=True):
            tree, node = place
            for answer, token, chance in zip(standing[place], draws, of_draws, strict=False):
                tokens[answer].append(token)
                chances[answer].append(chance)
                if token != ends:
                    (after,) = trees[tree].add([token], after=node)
                    going.setdefault((tree, after), []).append(answer)
        standing = going
        new = [range(known, len(tree)) for known, tree in zip(grown, trees, strict=True)]
    return tokens, chances


class _Tree:
    """Texts that begin alike. A node is a token, at its place in its text, after another node, or -1: at the beginning."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.places: list[int] = []
        self._after: list[int] = []
        self._nodes: dict[tuple[int, int], int] = {}
        # Rows for more nodes than there are, so that few are copied when some are added; the first `_known` of them are right.
        self._seen, self._known = np.zeros((64, 64), np.bool_), 0

    def __len__(self) -> int:
        return len(self.tokens)

    def add(self, text: Sequence[int], *, after: int = -1) -> list[int]:
        """Return the node of each token of a text that goes on after a node, -1: that begins."""
        nodes = []
        for token in text:
            node = self._nodes.get((after, token), -1)
            if node < 0:
                self._nodes[after, token] = node = len(self.tokens)
                self.tokens.append(token)
                self.places.append(self.places[after] + 1 if after >= 0 else 0)
                self._after.append(after)
            nodes.append(after := node)
        return nodes

    def seen(self) -> NDArray[np.bool_]:
        """Return which of n nodes, in columns, each sees, (n, n): itself, and what comes before it in its text."""
        if len(self) > len(self._seen):
            more = np.zeros((2 * len(self), 2 * len(self)), np.bool_)
            more[: self._known, : self._known] = self._seen[: self._known, : self._known]
            self._seen = more
        seen = self._seen
        for node in range(self._known, len(self)):
            if (after := self._after[node]) >= 0:
                seen[node] = seen[after]
            seen[node, node] = True
        self._known = len(self)
        return seen[: self._known, : self._known]


class _Grove:
    """Trees as a batch of a model, and the columns of it that their nodes have; what `grows` keeps what was computed."""

    def __init__(self, model: Any, trees: Sequence[_Tree], *, grows: bool = False) -> None:
        self._model = model
        self._trees = trees
        self._grows = grows
        self._cache: Any = None
        self._width = 0
        self._columns = [np.empty(0, np.intp) for _ in trees]

    def computed(self, new: Sequence[Iterable[int]], asked: Sequence[dict[int, None]]) -> tuple[Tensor, list[dict[int, int]]]:
        """Compute each tree's new nodes; return the logits (trees, rows, vocabulary) after those asked for, and their rows."""
        # What is asked for stands last, whatever its place in a text: logits are computed for these columns only.
        of_tree = [[*(node for node in nodes if node not in last), *last] for nodes, last in zip(new, asked, strict=True)]
        width, kept = max(1, *map(len, of_tree)), max(1, *map(len, asked))
        tokens, places = np.zeros((len(new), width), np.int64), np.zeros((len(new), width), np.int64)
        seen = np.zeros((len(new), 1, width, self._width + width), np.bool_)
        # A pad sees itself: a softmax over nothing is no number.
        seen[:, 0, np.arange(width), self._width + np.arange(width)] = True
        for row, (tree, nodes) in enumerate(zip(self._trees, of_tree, strict=True)):
            if not nodes:
                continue
            first = width - len(nodes)
            columns = np.zeros(len(tree), np.intp)
            columns[: len(self._columns[row])] = self._columns[row]
            columns[nodes] = self._width + np.arange(first, width)
            self._columns[row] = columns
            tokens[row, first:] = np.take(tree.tokens, nodes)
            places[row, first:] = np.take(tree.places, nodes)
            seen[row, 0, first:, columns] = tree.seen()[nodes].T
        self._width += width
        device = next(self._model.parameters()).device
        out = self._model(
            input_ids=torch.from_numpy(tokens).to(device),
            attention_mask=torch.from_numpy(seen).to(device),
            position_ids=torch.from_numpy(places).to(device),
            past_key_values=self._cache,
            use_cache=self._grows,
            # As indexes, by which they are copied out: a slice of a batch has PyTorch copy the vocabulary for each row instead.
            logits_to_keep=torch.arange(width - kept, width, device=device),
        )
        self._cache = out.past_key_values if self._grows else None
        return out.logits, [{node: row for row, node in enumerate(last, kept - len(last))} for last in asked]


def _planted(prompts: Sequence[Sequence[int]], answered: Sequence[int]) -> tuple[list[_Tree], list[int], list[int]]:
    """Return trees for prompts, each answered by so many tokens, and for each prompt its tree and its last node there.

    A prompt's tree is that of the one before it in their order, if they share half of it and there is room, or new. What
    nothing is asked of is in none: its last node is -1.
    """
    trees: list[_Tree] = []
    of, last = [0] * len(prompts), [-1] * len(prompts)
    before: Sequence[int] = ()
    size = 0
    for row in sorted(range(len(prompts)), key=lambda row: list(prompts[row])):
        prompt = prompts[row]
        alike = sum(takewhile(bool, map(eq, before, prompt)))
        added = len(prompt) - alike + answered[row]
        if not trees or 2 * alike < len(prompt) or size + added > MOST_TOKENS:
            trees.append(_Tree())
            size, added = 0, len(prompt) + answered[row]
        size, before, of[row] = size + added, prompt, len(trees) - 1
        if answered[row]:
            last[row] = trees[-1].add(prompt)[-1]
    return trees, of, last


def _table(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Return rows of numbers as one, with zeros after the shorter."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], batch_first=True).to(device)
