"""Adapters on CPU: what tokens get in a run is what each would get alone. tests/models/test_real_agent.py serves by it."""

import pytest
import torch

from deploy.local.vllm_adapters import NONE, add

IN, RANK, WIDTHS, ADAPTERS = 24, 4, (16, 8), 3


@pytest.fixture
def stacked() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The matrices of three adapters, as vLLM stacks them for two slices of one layer."""
    torch.manual_seed(0)
    downs = [torch.randn(ADAPTERS, 1, RANK, IN) for _ in WIDTHS]
    return downs, [torch.randn(ADAPTERS, 1, width, RANK) for width in WIDTHS]


@pytest.mark.parametrize(
    "adapters", [[0] * 6, [0, 0, 2, 2, 2, 1], [NONE, 1, NONE, NONE, 1, NONE], [NONE] * 6, [2, 1, 0, 2, 1, 0]]
)
def test_each_row_gets_what_its_own_adapter_adds_and_none_where_it_wants_none(
    stacked: tuple[list[torch.Tensor], list[torch.Tensor]], adapters: list[int]
) -> None:
    downs, ups = stacked
    before, x = torch.randn(6, sum(WIDTHS)), torch.randn(6, IN)
    expected = before.clone()
    for row, adapter in enumerate(adapters):
        if adapter != NONE:
            expected[row] += 0.5 * torch.cat(
                [up[adapter, 0] @ (down[adapter, 0] @ x[row]) for down, up in zip(downs, ups, strict=True)]
            )
    y = before.clone()
    add(y, x, downs, ups, 0.5, WIDTHS, torch.tensor(adapters))
    assert torch.allclose(y, expected, atol=1e-4)


def test_rows_that_no_index_is_for_stay_as_they_are(stacked: tuple[list[torch.Tensor], list[torch.Tensor]]) -> None:
    y, x = torch.zeros(5, sum(WIDTHS)), torch.randn(5, IN)
    add(y, x, *stacked, 1.0, WIDTHS, torch.tensor([1, 1, 1]))
    assert y[:3].abs().min() > 0
    assert not y[3:].any()


def test_what_an_adapter_pads_is_left_out() -> None:
    y = torch.zeros(2, 4)
    add(y, torch.ones(2, 3), [torch.ones(1, 1, 1, 3)], [torch.ones(1, 1, 8, 1)], 1.0, [4], torch.tensor([0, 0]))
    assert torch.equal(y, torch.full((2, 4), 3.0))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32])
def test_numbers_of_half_the_length_are_added_in_the_kind_of_the_sum(
    stacked: tuple[list[torch.Tensor], list[torch.Tensor]], kind: torch.dtype
) -> None:
    downs, ups = ([each.bfloat16() for each in of] for of in stacked)
    y, x = torch.zeros(4, sum(WIDTHS), dtype=kind), torch.randn(4, IN).bfloat16()
    add(y, x, downs, ups, 1.0, WIDTHS, torch.tensor([0, 0, 1, 1]))
    exact = torch.cat([up[0, 0].float() @ (down[0, 0].float() @ x[0].float()) for down, up in zip(downs, ups, strict=True)])
    assert y.dtype == kind
    assert torch.allclose(y[0].float(), exact, rtol=0.05, atol=0.3)
