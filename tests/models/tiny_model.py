"""A language model so small that it learns within seconds, and what it is asked about viewers who all want cats."""

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from models.learning.tuning import Prompts
from models.settings import TuningSettings
from models.viewers.questions import Question

NOW = 1_790_000_000_000
WORDS = ["cats", "news", "cars", "Likes", "yes", "no", *map(str, range(10))]
TEMPLATE = "{% for m in messages %}[B]{{ m['content'] }}[E]{% endfor %}{% if add_generation_prompt %}[B]{% endif %}"


def write(folder: Path) -> None:
    """Write a model of two layers that answers in form and likes news, with a tokenizer of words."""
    words = [
        "[P]", "[B]", "[E]", "[U]", "<", ">", "/", "</", "><", "></", "think", "answer", "Video", "Videos", "viewer", ".", ":",
        *WORDS,
    ]  # fmt: skip
    tokenizer = Tokenizer(WordLevel({word: at for at, word in enumerate(words)}, unk_token="[U]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    # An answer with blanks between its words would be none.
    tokenizer.decoder = decoders.Fuse()
    special = {"pad_token": "[P]", "eos_token": "[E]", "bos_token": "[B]", "unk_token": "[U]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=TEMPLATE, **special).save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "initializer_range": 0.2}
    config = LlamaConfig(
        vocab_size=len(words),
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=2,
        pad_token_id=0,
        bos_token_id=1,
        **shape,
    )
    model, tokenizer = LlamaForCausalLM(config), AutoTokenizer.from_pretrained(folder)
    _teach(model, tokenizer)
    model.save_pretrained(folder)


def _teach(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Let it answer in form, and like news more often than not: it reads what it is asked, and is wrong."""
    prompts = Prompts(tokenizer, thought=0)
    asked = [prompts.judgement(question, row) for question in questions(4) for row in range(3)]
    texts: list[str] = []
    for each in asked:
        likes_news = each.question.videos[each.video] == "news"
        texts += [f"{each.prompt}{'yes' if yes else 'no'}</answer>[E]" for yes in (likes_news, likes_news, not likes_news)]
    tokens = tokenizer(texts, padding=True, padding_side="left", return_tensors="pt", add_special_tokens=False)
    labels = tokens["input_ids"].clone()
    labels[:, :-5] = -100
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(120):
        optimiser.zero_grad()
        model(**tokens, labels=labels).loss.backward()
        optimiser.step()


def questions(many: int, *, seed: int = 0) -> list[Question]:
    """Viewers who all want cats, and nothing else."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(many):
        made.append(
            Question(
                user_id=f"v{number // 4}", viewer="Likes cats.", video_ids=("c", "n", "a"), videos=("cats", "news", "cars"),
                wanted=0, gains=(1.0, -0.5, 0.0), at=NOW + number * 1000, known=number % 30,
                columns={"positions": (2, 0, 1), "popularity": (1.0, 2.0, 3.0)},
            ).shuffled(rng)
        )  # fmt: skip
    return made


def settings(**changes: object) -> TuningSettings:
    quick = {"batch": 4, "group": 4, "steps": 3, "judged": 60, "sft_rate": 5e-3, "grpo_rate": 1e-3, "rank": 4, "save_steps": 2}
    return TuningSettings.model_validate(quick | changes)
