"""What texts begin with alike is computed once: where answers are sampled, learned from, and compared.

All questions about a viewer begin alike, and the answers to a question are a few tokens each after a prompt of hundreds. Texts
that share their beginning are one row of a batch, a prefix tree: each token stands in it once, at the position that it has in
its text, and sees what comes before it in its own text only (tree attention). Gradients go through what is shared.
"""

from collections.abc import Iterable, Sequence
from itertools import takewhile
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

    Each answer goes on from its prompt, both in tokens; after its end there are zeros.
    """
    trees, of = _planted(prompts, list(map(len, answers)))
    # What each token of an answer goes on from; a prompt that nothing is asked of is not computed.
    before = [
        trees[tree].add([*prompt, *answer[:-1]])[len(prompt) - 1 :] if answer else []
        for tree, prompt, answer in zip(of, prompts, answers, strict=True)
    ]
    asked: list[dict[int, None]] = [{} for _ in trees]
    for tree, nodes in zip(of, before, strict=True):
        asked[tree].update(dict.fromkeys(nodes))
    logits, row_of = _Grove(model, trees).computed([range(len(tree)) for tree in trees], asked)
    likely = torch.log_softmax(logits.float() / temperature, dim=-1)
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
    trees, of_prompt = _planted(prompts, [each * longest] * len(prompts))
    grove = _Grove(model, trees, grows=True)
    of = [tree for tree in of_prompt for _ in range(each)]
    # Where each answer has come to: at first all to one prompt are at its end.
    at = [node for tree, prompt in zip(of_prompt, prompts, strict=True) for node in [trees[tree].add(prompt)[-1]] * each]
    new: list[Iterable[int]] = [range(len(tree)) for tree in trees]
    tokens: list[list[int]] = [[] for _ in at]
    chances: list[list[float]] = [[] for _ in at]
    going = list(range(len(at)))
    while going:
        asked: list[dict[int, None]] = [{} for _ in trees]
        for answer in going:
            asked[of[answer]][at[answer]] = None
        logits, row_of = grove.computed(new, asked)
        rows = [row_of[of[answer]][at[answer]] for answer in going]
        likely = torch.log_softmax(logits[[of[answer] for answer in going], rows].float() / temperature, dim=-1)
        drawn = torch.multinomial(likely.exp(), 1)
        for answer, token, chance in zip(going, drawn[:, 0].tolist(), likely.gather(1, drawn)[:, 0].tolist(), strict=True):
            tokens[answer].append(token)
            chances[answer].append(chance)
        going = [answer for answer in going if tokens[answer][-1] != ends and len(tokens[answer]) < longest]
        grown = [len(tree) for tree in trees]
        for answer in going:
            (at[answer],) = trees[of[answer]].add(tokens[answer][-1:], after=at[answer])
        new = [range(before, len(tree)) for before, tree in zip(grown, trees, strict=True)]
    return tokens, chances


class _Tree:
    """Texts that begin alike. A node is a token; its lineage are the nodes of its text up to it, its own the last."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.lineages: list[NDArray[np.intp]] = []
        self._nodes: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self.tokens)

    def add(self, text: Sequence[int], *, after: int = -1) -> list[int]:
        """Return the node of each token of a text that goes on after a node, -1: that begins."""
        nodes = []
        for token in text:
            node = self._nodes.setdefault((after, token), len(self.tokens))
            if node == len(self.tokens):
                self.tokens.append(token)
                before = self.lineages[after] if after >= 0 else np.empty(0, np.intp)
                self.lineages.append(np.append(before, node))
            nodes.append(after := node)
        return nodes


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
            first = width - len(nodes)
            columns = np.zeros(len(tree), np.intp)
            columns[: len(self._columns[row])] = self._columns[row]
            columns[nodes] = self._width + np.arange(first, width)
            self._columns[row] = columns
            for column, node in enumerate(nodes, first):
                tokens[row, column] = tree.tokens[node]
                places[row, column] = len(tree.lineages[node]) - 1
                seen[row, 0, column, columns[tree.lineages[node]]] = True
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


def _planted(prompts: Sequence[Sequence[int]], answered: Sequence[int]) -> tuple[list[_Tree], list[int]]:
    """Return trees for prompts, each answered by so many tokens, and the tree of each, which shares half of it or is new."""
    trees: list[_Tree] = []
    of = [0] * len(prompts)
    first: Sequence[int] = ()
    size = 0
    for row in sorted(range(len(prompts)), key=lambda row: list(prompts[row])):
        prompt = prompts[row]
        alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, prompt, strict=False)))
        added = len(prompt) - alike + answered[row]
        if not trees or 2 * alike < len(prompt) or size + added > MOST_TOKENS:
            trees.append(_Tree())
            first, size, added = prompt, 0, len(prompt) + answered[row]
        size += added
        of[row] = len(trees) - 1
    return trees, of


def _table(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Return rows of numbers as one, with zeros after the shorter."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], batch_first=True).to(device)
