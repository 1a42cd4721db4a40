"""Sampled actions by the compiled library, against PyTorch's operators."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from d2r.algorithms.policy import LOG_STD_MAX, LOG_STD_MIN, TANH_EPSILON, sample_action
from tests.support.compiled import BUILT, both

pytestmark = pytest.mark.skipif(not BUILT, reason="the library is not built: no C++ compiler")
repeated = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def drawn(seed: int, rows: int, actions: int, scale: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    output = torch.randn(rows, 2 * actions, generator=generator, dtype=torch.float64) * scale
    noise = torch.randn(rows, actions, generator=generator, dtype=torch.float64)
    return output.to(dtype), noise.to(dtype)


def with_gradient(output: Tensor, noise: Tensor) -> list[Tensor]:
    leaf = output.clone().requires_grad_()
    action, log_prob = sample_action(leaf, noise)
    of_action, of_log_prob = (torch.linspace(-1, 2.5, t.numel()).view_as(t).to(t) for t in (action, log_prob))
    [gradient] = torch.autograd.grad((action * of_action).sum() + (log_prob * of_log_prob).sum(), [leaf])
    return [action.detach(), log_prob.detach(), gradient]


@repeated
@given(
    st.integers(0, 2**31),
    st.integers(1, 70),
    st.integers(1, 5),
    st.sampled_from([1e-6, 1e-3, 0.1, 1.0, 20.0]),
)
def test_actions_log_probabilities_and_gradients_are_those_of_pytorch(
    served: Callable[[bool], None], seed: int, rows: int, actions: int, scale: float
) -> None:
    """To rounding, which where an action is next to 1 the change of variables enlarges by 1 / 1e-6."""
    output, noise = drawn(seed, rows, actions, scale, torch.float64)
    rounding = 4 * torch.finfo(torch.float64).eps * (1 + float(output.abs().max()))
    action, *others = both(served, lambda: with_gradient(output, noise))
    torch.testing.assert_close(*action, rtol=rounding, atol=rounding)
    for ours, plain in others:
        torch.testing.assert_close(
            ours, plain, rtol=rounding / TANH_EPSILON, atol=actions * rounding / TANH_EPSILON
        )


@repeated
@given(st.integers(0, 2**31), st.sampled_from([1e-3, 1.0, 5.0]))
def test_float32_is_as_close_to_the_truth_as_pytorchs(
    served: Callable[[bool], None], seed: int, scale: float
) -> None:
    """To some roundings, once what the change of variables enlarges by 1 / (1 - action^2) is made small again."""
    output, noise = drawn(seed, 64, 4, scale, torch.float32)
    served(False)
    truth = with_gradient(output.double(), noise.double())
    slope = 1 - truth[0].square() + TANH_EPSILON
    weights = torch.ones(()), slope.amin(-1), torch.cat([slope, slope], -1)
    results = both(served, lambda: with_gradient(output, noise))
    for exact, weight, (ours, plain) in zip(truth, weights, results, strict=True):
        error, allowed = (((t - exact) * weight).abs().max() for t in (ours, plain))
        assert error <= 2 * allowed + 32 * torch.finfo(torch.float32).eps * (exact * weight).abs().max()


def test_bounds_let_gradients_pass_and_what_lies_beyond_does_not(served: Callable[[bool], None]) -> None:
    log_stds = torch.tensor(
        [LOG_STD_MIN - 1, LOG_STD_MIN, 0.0, LOG_STD_MAX, LOG_STD_MAX + 1, -math.inf, math.inf]
    )
    output = torch.stack([torch.zeros(7), log_stds], 1)
    served(True)
    _, _, gradient = with_gradient(output, torch.full((7, 1), 0.3))
    assert (gradient[:, 1] != 0).tolist() == [False, True, True, True, False, False, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_without_end_and_none_are_treated_as_by_pytorch(
    served: Callable[[bool], None], dtype: torch.dtype
) -> None:
    values = torch.tensor([0.0, -0.0, 1e-30, 1e30, -1e30, math.inf, -math.inf, math.nan], dtype=dtype)
    output = torch.cartesian_prod(values, values)
    noise = torch.ones(64, 1, dtype=dtype)
    for ours, plain in both(served, lambda: with_gradient(output, noise)):
        torch.testing.assert_close(ours, plain, equal_nan=True)


def test_rows_and_layouts_do_not_matter(served: Callable[[bool], None]) -> None:
    """Rows among others have the bits that they have alone, wherever they lie, with a gradient or without."""
    output, noise = drawn(0, 40, 4, 1.0, torch.float32)
    served(True)
    together = with_gradient(output, noise)
    spread = with_gradient(output.t().contiguous().t(), noise.t().contiguous().t())
    without = sample_action(output.view(4, 10, 8), noise.view(4, 10, 4))
    parts = [sample_action(output[begin:end], noise[begin:end]) for begin, end in ((0, 7), (7, 24), (24, 40))]
    apart = [torch.cat(of_parts) for of_parts in zip(*parts, strict=True)]
    assert all(map(torch.equal, together, spread))
    for other in ([t.flatten(0, 1) for t in without], apart):
        assert all(map(torch.equal, together[:2], other))


def test_noise_that_is_repeated_or_learned_is_pytorchs(served: Callable[[bool], None]) -> None:
    output, noise = drawn(0, 40, 4, 1.0, torch.float64)

    def compute() -> list[Tensor]:
        learned = noise.clone().requires_grad_()
        action, log_prob = sample_action(output, learned)
        return [
            *sample_action(output, noise[:1]),
            *torch.autograd.grad(action.sum() + log_prob.sum(), [learned]),
        ]

    for ours, plain in both(served, compute):
        assert torch.equal(ours, plain)
