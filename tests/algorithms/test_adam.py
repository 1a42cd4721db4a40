"""Our Adam beside PyTorch's."""

from __future__ import annotations

import copy
from itertools import chain

import pytest
import torch
from torch import Tensor

from d2r.algorithms.adam import Adam

RATES = (3e-4, 1e-2)


def parameters(dtype: torch.dtype) -> list[list[Tensor]]:
    """Two groups; the last parameter of the first group has a gradient from the third step on."""
    generator = torch.Generator().manual_seed(0)
    shapes = (((1, 7, 5), (2, 33), (9,)), ((4,), ()))
    return [
        [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in group]
        for group in shapes
    ]


def give_gradients(groups: list[list[Tensor]], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for group in groups:
        for parameter in group:
            gradient = torch.randn(parameter.shape, generator=generator).to(parameter) * 10.0 ** (
                step % 5 - 2
            )
            if parameter.shape != (9,) or step >= 2:
                parameter.grad = gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_and_state_are_those_of_pytorch(dtype: torch.dtype) -> None:
    """Same kernel, same bits; in the middle, each goes on from a copy of PyTorch's state."""
    mine, theirs = parameters(dtype), parameters(dtype)
    adam = Adam(list(zip(mine, RATES, strict=True)))
    stock = torch.optim.Adam(
        [{"params": group, "lr": rate} for group, rate in zip(theirs, RATES, strict=True)], fused=True
    )
    for step in range(8):
        for optimiser, groups in ((adam, mine), (stock, theirs)):
            optimiser.zero_grad()
            give_gradients(groups, step)
            optimiser.step()
        if step == 4:
            adam = Adam(list(zip(mine, RATES, strict=True)))
            adam.load_state_dict(copy.deepcopy(stock.state_dict()))
        for one, two in zip(chain(*mine), chain(*theirs), strict=True):
            assert torch.equal(one, two)
        ours, stocks = adam.state_dict()["state"], stock.state_dict()["state"]
        assert ours.keys() == stocks.keys()
        for number, state in ours.items():
            assert state.keys() == stocks[number].keys()
            assert all(torch.equal(value, stocks[number][name]) for name, value in state.items())


def test_a_loaded_state_is_a_copy() -> None:
    groups = parameters(torch.float32)
    adam = Adam(list(zip(groups, RATES, strict=True)))
    give_gradients(groups, 0)
    adam.step()
    kept = adam.state_dict()
    again = Adam(list(zip(groups, RATES, strict=True)))
    again.load_state_dict(kept)
    before = copy.deepcopy(kept)
    again.step()
    for number, state in before["state"].items():
        assert all(torch.equal(value, kept["state"][number][name]) for name, value in state.items())
