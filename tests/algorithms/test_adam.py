"""Our Adam of several seeds beside one PyTorch's of each."""

from __future__ import annotations

import copy
from itertools import chain

import pytest
import torch
from torch import Tensor

from d2r.algorithms.adam import Adam
from d2r.kernel import library

RATES = (3e-4, 1e-2)
SHAPES = (((2, 7, 5), (2, 33), (2, 9)), ((4,), ()))
"""Of one seed's parameters: those of two members, and others without such an axis."""
ROWS = (2, 0)
LATE = (2, 9)
"""A parameter that has a gradient from the third step on."""


def parameters(seed: int, dtype: torch.dtype) -> list[list[Tensor]]:
    """One seed's two groups."""
    generator = torch.Generator().manual_seed(seed)
    return [
        [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in group]
        for group in SHAPES
    ]


def beside(of_seeds: list[list[list[Tensor]]]) -> list[list[Tensor]]:
    """The groups of several seeds, side by side along the first axis."""
    return [
        [
            (torch.cat(parts) if rows else torch.stack(parts)).detach().requires_grad_()
            for parts in zip(*groups, strict=True)
        ]
        for rows, *groups in zip(ROWS, *of_seeds, strict=True)
    ]


def optimiser_of(groups: list[list[Tensor]]) -> Adam:
    return Adam(list(zip(groups, RATES, ROWS, strict=True)))


def give_gradients(of_seeds: list[list[list[Tensor]]], step: int) -> None:
    for seed, groups in enumerate(of_seeds):
        generator = torch.Generator().manual_seed(100 * seed + step)
        for parameter in chain(*groups):
            gradient = torch.randn(parameter.shape, generator=generator).to(parameter) * 10.0 ** (
                step % 5 - 2
            )
            if parameter.shape != LATE or step >= 2:
                parameter.grad = gradient


def hand_over(of_seeds: list[list[list[Tensor]]], groups: list[list[Tensor]]) -> None:
    """Give the parameters side by side the gradients that the seeds' have."""
    for rows, group, *parts in zip(ROWS, groups, *of_seeds, strict=True):
        for parameter, *alone in zip(group, *parts, strict=True):
            gradients = [one.grad for one in alone if one.grad is not None]
            if gradients:
                parameter.grad = torch.cat(gradients) if rows else torch.stack(gradients)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_and_state_are_those_of_pytorch(
    dtype: torch.dtype, seeds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same kernel, same bits of each seed; in the middle, each goes on from a copy of PyTorch's state."""
    monkeypatch.setattr(library, "functions", lambda _: None)
    theirs = [parameters(seed, dtype) for seed in range(seeds)]
    mine = beside(theirs)
    adam = optimiser_of(mine)
    stocks = [
        torch.optim.Adam(
            [{"params": group, "lr": rate} for group, rate in zip(groups, RATES, strict=True)], fused=True
        )
        for groups in theirs
    ]
    assert adam.shapes() == [parameter.shape for parameter in chain(*theirs[0])]
    for step in range(8):
        for optimiser in (adam, *stocks):
            optimiser.zero_grad()
        give_gradients(theirs, step)
        hand_over(theirs, mine)
        for optimiser in (adam, *stocks):
            optimiser.step()
        if step == 4:
            adam = optimiser_of(mine)
            for place, stock in enumerate(stocks):
                adam.load_state_dict(copy.deepcopy(stock.state_dict()), place)
        for one, two in zip(chain(*mine), chain(*beside(theirs)), strict=True):
            assert torch.equal(one, two)
        for place, stock in enumerate(stocks):
            ours, expected = adam.state_dict(place)["state"], stock.state_dict()["state"]
            assert ours.keys() == expected.keys()
            for number, state in ours.items():
                assert state.keys() == expected[number].keys()
                assert all(torch.equal(value, expected[number][name]) for name, value in state.items())


def test_what_is_loaded_takes_the_place_of_one_seeds_state_alone() -> None:
    """Seeds that have come to different steps, and one that has taken none; each takes the place of another."""
    states = []
    for seed, steps in enumerate((3, 0, 5)):
        groups = beside([parameters(seed, torch.float32)])
        adam = optimiser_of(groups)
        for step in range(steps):
            give_gradients([groups], step)
            adam.step()
        states.append(copy.deepcopy(adam.state_dict()))
    several = optimiser_of(beside([parameters(seed, torch.float32) for seed in range(3)]))
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        for place, number in enumerate(order):
            several.load_state_dict(states[number], place)
        for place, number in enumerate(order):
            found, expected = several.state_dict(place)["state"], states[number]["state"]
            assert found.keys() == expected.keys()
            for parameter, state in expected.items():
                assert all(torch.equal(value, found[parameter][name]) for name, value in state.items())


def test_a_loaded_state_is_a_copy() -> None:
    of_seeds = [parameters(0, torch.float32)]
    groups = beside(of_seeds)
    adam = optimiser_of(groups)
    give_gradients(of_seeds, 0)
    hand_over(of_seeds, groups)
    adam.step()
    kept = adam.state_dict()
    again = optimiser_of(groups)
    again.load_state_dict(kept)
    before = copy.deepcopy(kept)
    again.step()
    for number, state in before["state"].items():
        assert all(torch.equal(value, kept["state"][number][name]) for name, value in state.items())
