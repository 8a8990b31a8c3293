"""What is computed once for texts that begin alike is what it is computed for each."""

from collections.abc import Sequence

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from models.learning import prefix_trees
from models.learning.prefix_trees import log_probs, sampled

END = 1
# Two questions about one viewer and one about another; the first is answered twice alike, and once by nothing.
PROMPTS = [[5, 6, 7, 8, 9], [20, 21], [5, 6, 7, 10], [5, 6, 7, 8, 9], [5, 6, 7, 8, 9], [5, 6, 7, 10], [20, 21]]
ANSWERS = [[11, 12, END], [13, END], [14, END], [11, 12, END], [], [11], [13, 12, END]]


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=50, num_attention_heads=4, num_key_value_heads=2, **shape)).eval()


def each_alone(
    model: LlamaForCausalLM, prompts: Sequence[Sequence[int]] = PROMPTS, answers: Sequence[Sequence[int]] = ANSWERS
) -> torch.Tensor:
    rows = []
    for prompt, answer in zip(prompts, answers, strict=True):
        tokens = torch.tensor([[*prompt, *answer]])
        likely = torch.log_softmax(model(input_ids=tokens).logits[0, :-1], dim=-1)
        rows.append(likely.gather(1, tokens[0, 1:, None])[len(prompt) - 1 :, 0])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


@pytest.mark.parametrize("most_tokens", [1024, 12, 1])
def test_answers_are_as_likely_as_with_a_prompt_of_their_own(
    model: LlamaForCausalLM, most_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_trees, "MOST_TOKENS", most_tokens)
    likely, entropy = log_probs(model, PROMPTS, ANSWERS)
    torch.testing.assert_close(likely, each_alone(model), atol=1e-5, rtol=1e-4)
    assert ((entropy > 0) == (likely < 0)).all()


def test_what_is_learned_from_them_is_the_same(model: LlamaForCausalLM) -> None:
    gradients = []
    for total in (log_probs(model, PROMPTS, ANSWERS)[0].sum(), each_alone(model).sum()):
        model.zero_grad()
        total.backward()
        gradients.append(torch.cat([weights.grad.flatten() for weights in model.parameters() if weights.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-3)


def test_each_token_that_texts_share_is_computed_once(model: LlamaForCausalLM) -> None:
    computed = []
    model.register_forward_pre_hook(lambda _, __, kwargs: computed.append(kwargs["input_ids"].shape), with_kwargs=True)
    log_probs(model, PROMPTS[:6], ANSWERS[:6])
    # Of one viewer 5 6 7, then 8 9 11 12 or 10 14, and nothing after the last that is asked for; the other's are padded.
    assert computed == [(2, 9)]


def test_nothing_is_asked_of_no_answers(model: LlamaForCausalLM) -> None:
    likely, entropy = log_probs(model, [[5, 6], [7, 8]], [[], []])
    assert likely.shape == entropy.shape == (2, 0)
    likely.sum().backward()


# Prompts that share their beginnings, one twice; answers for which a tree outgrows what it had room for, some ended while
# others go on; and prompts that begin others, so that what is drawn may stand in the tree already.
@pytest.mark.parametrize(
    ("asked", "each", "longest"),
    [
        ([[5, 6, 7, 8], [9, 10], [5, 6, 7, 11, 12], [5, 6, 7, 8]], 3, 6),
        ([[5, 6, 7, 8], [5, 6, 7, 9]], 8, 30),
        ([[5, 6], *([5, 6, token] for token in range(50))], 2, 3),
    ],
)
def test_sampled_answers_come_with_their_likelihoods_and_end(
    model: LlamaForCausalLM, asked: list[list[int]], each: int, longest: int
) -> None:
    torch.manual_seed(1)
    answers, chances = sampled(model, asked, each, longest=longest, ends=END)
    assert len(answers) == each * len(asked)
    assert all(answer.index(END) == len(answer) - 1 if END in answer else len(answer) == longest for answer in answers)
    alone = each_alone(model, [prompt for prompt in asked for _ in range(each)], answers)
    for row, likely in zip(alone.tolist(), chances, strict=True):
        assert row[: len(likely)] == pytest.approx(likely, abs=1e-4)


def test_samples_are_as_often_what_they_are_likely_to_be(model: LlamaForCausalLM) -> None:
    torch.manual_seed(3)
    # Half of them as a question of their own: what is asked twice is drawn together.
    answers, _ = sampled(model, [[5, 6, 7], [5, 6, 7]], 2_000, longest=2, ends=END)
    first = torch.softmax(model(input_ids=torch.tensor([[5, 6, 7]])).logits[0, -1], dim=-1)
    often = torch.bincount(torch.tensor([answer[0] for answer in answers]), minlength=50) / 4_000
    assert (often - first).abs().max() < 0.03
    most = int(first.argmax())
    second = torch.softmax(model(input_ids=torch.tensor([[5, 6, 7, most]])).logits[0, -1], dim=-1)
    after = torch.tensor([answer[1] for answer in answers if answer[0] == most])
    often = torch.bincount(after, minlength=50) / len(after)
    assert (often - second).abs().max() < 0.12


def test_the_same_seed_samples_the_same(model: LlamaForCausalLM) -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(2)
        drawn.append(sampled(model, [[5, 6, 7]], 4, longest=5, ends=END))
    assert drawn[0] == drawn[1]
