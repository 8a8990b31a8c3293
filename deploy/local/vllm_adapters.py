"""LoRA for the embedded vLLM on CPU: a plugin that computes an adapter for a run of tokens at once, not for each token.

vLLM's own way copies an adapter's matrices for each token that goes through them, gigabytes in a step of 1,000, and so answers
by an adapter at a third of its base model's speed. To tokens that want no adapter, in a step with others that do, it adds what
its last one would. Imported in vLLM's environment, which has torch and none of Headwater's packages.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

# What vLLM's indices of adapters call no adapter.
NONE = -1


def register() -> None:
    """Let adapters be computed so in this process; vLLM calls it in each of its own."""
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    PunicaWrapperCPU.add_lora_linear = _linear
    PunicaWrapperCPU.add_lora_logits = _logits


def add(
    y: Tensor, x: Tensor, downs: Sequence[Tensor], ups: Sequence[Tensor], scale: float, widths: Sequence[int], adapters: Tensor
) -> None:
    """Add to y, (n, sum of `widths`), what adapters make of x, (n, in): for each row the one of its index in `adapters`, (n,).

    `downs`, (adapters, 1, rank, in), and `ups`, (adapters, 1, width, rank), are of slices of y that stand side by side.
    """
    for rows, adapter in _runs(adapters):
        first = 0
        for down, up, width in zip(downs, ups, widths, strict=True):
            # An adapter or its model may pad what comes out.
            wide = min(width, up.shape[-2])
            inner = (x[rows] @ down[adapter, 0].T).to(y.dtype)
            y[rows, first : first + wide].addmm_(inner, up[adapter, 0, :wide].T.to(y.dtype), alpha=scale)
            first += width


def _runs(adapters: Tensor) -> Iterator[tuple[slice, int]]:
    """Yield which rows in a row have which adapter, without those that have none."""
    indices, lengths = torch.unique_consecutive(adapters, return_counts=True)
    first = 0
    for adapter, length in zip(indices.tolist(), lengths.tolist(), strict=True):
        if adapter != NONE:
            yield slice(first, first + length), adapter
        first += length


def _linear(
    self: Any,
    y: Tensor,
    x: Tensor,
    lora_a_stacked: Sequence[Tensor],
    lora_b_stacked: Sequence[Tensor],
    scale: float,
    output_slices: Sequence[int],
    **_: object,
) -> None:
    """Take the place of `PunicaWrapperCPU.add_lora_linear`."""
    y, x = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
    add(y, x, lora_a_stacked, lora_b_stacked, scale, output_slices, self.token_lora_indices)


def _logits(self: Any, y: Tensor, x: Tensor, lora_a_stacked: Tensor, lora_b_stacked: Tensor, scale: float, **_: object) -> None:
    """Take the place of `PunicaWrapperCPU.add_lora_logits`."""
    y, x = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
    add(y, x, [lora_a_stacked], [lora_b_stacked], scale, [y.shape[-1]], self.sampler_indices)
