"""A prompt computed once for all its answers gives what it gives computed for each."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from models.learning.shared_prompts import log_probs, sampled

PAD, END = 0, 1


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=50, num_attention_heads=4, num_key_value_heads=2, **shape)).eval()


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two answers to each of two prompts of unlike lengths, in an order that mixes them."""
    prompts = torch.tensor([[5, 6, 7, 8], [PAD, PAD, 9, 10], [5, 6, 7, 8], [PAD, PAD, 9, 10]])
    answers = torch.tensor([[11, 12, END], [13, END, PAD], [14, END, PAD], [11, 12, END]])
    return prompts, (prompts != PAD).long(), answers, (answers != PAD).long()


def each_alone(model: LlamaForCausalLM) -> torch.Tensor:
    rows = []
    for prompt, asked, answer, said in zip(*batch(), strict=True):
        tokens = torch.cat([prompt[asked.bool()], answer[said.bool()]])[None]
        likely = torch.log_softmax(model(input_ids=tokens).logits[0, :-1], dim=-1)
        rows.append(likely.gather(1, tokens[0, 1:, None])[-int(said.sum()) :, 0])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def test_answers_are_as_likely_as_with_a_prompt_of_their_own(model: LlamaForCausalLM) -> None:
    prompts, asked, answers, said = batch()
    likely, entropy = log_probs(model, prompts, asked, answers, said)
    torch.testing.assert_close(likely * said, each_alone(model), atol=1e-5, rtol=1e-4)
    assert (entropy > 0).all()


def test_what_is_learned_from_them_is_the_same(model: LlamaForCausalLM) -> None:
    prompts, asked, answers, said = batch()
    gradients = []
    for total in ((log_probs(model, prompts, asked, answers, said)[0] * said).sum(), each_alone(model).sum()):
        model.zero_grad()
        total.backward()
        gradients.append(torch.cat([weights.grad.flatten() for weights in model.parameters() if weights.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-3)


def test_sampled_answers_come_with_their_likelihoods_and_end(model: LlamaForCausalLM) -> None:
    torch.manual_seed(1)
    asked = [[5, 6, 7, 8], [9, 10]]
    answers, chances = sampled(model, asked, 3, longest=6, ends=END, pad=PAD)
    assert len(answers) == 6
    for row, (answer, likely) in enumerate(zip(answers, chances, strict=True)):
        assert answer.index(END) == len(answer) - 1 if END in answer else len(answer) == 6
        prompt = torch.tensor([asked[row // 3]])
        whole, _ = log_probs(
            model, prompt, torch.ones_like(prompt), torch.tensor([answer]), torch.ones(1, len(answer), dtype=torch.long)
        )
        assert whole[0].tolist() == pytest.approx(likely, abs=1e-4)


def test_the_same_seed_samples_the_same(model: LlamaForCausalLM) -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(2)
        drawn.append(sampled(model, [[5, 6, 7]], 4, longest=5, ends=END, pad=PAD))
    assert drawn[0] == drawn[1]
