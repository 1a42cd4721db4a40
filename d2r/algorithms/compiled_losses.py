"""Losses by the compiled library, as functions with gradients: what ``losses.py`` computes, to rounding."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from d2r.networks.compiled import Functions, numbers

_sizes = cache(numbers)


def td_losses(
    kernel: Functions,
    value: Tensor,
    reward: Tensor,
    terminal: Tensor,
    next_value: Tensor,
    next_log_prob: Tensor,
    alpha: Tensor,
    weight: Tensor,
    discount: float,
) -> Tensor:
    """Weighted TD losses; see ``losses.td_losses``."""
    given = (value, next_value, next_log_prob, reward, terminal, alpha, weight)
    return _TD.apply(kernel, discount, *(t.contiguous() for t in given))  # type: ignore[no-any-return, no-untyped-call]


def policy_losses(
    kernel: Functions, value: Tensor, log_prob: Tensor, alpha: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Weighted policy losses and the mean log pi; see ``losses.policy_losses``."""
    given = (value, log_prob, alpha, weight)
    return _Policy.apply(kernel, *(t.contiguous() for t in given))  # type: ignore[no-any-return, no-untyped-call]


class _TD(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Functions, discount: float, value: Tensor, *others: Tensor) -> Tensor:
        seeds, critics, _, tasks = value.shape
        error, loss = torch.empty_like(value), value.new_empty(seeds, critics, tasks)
        ctx.sizes = _sizes(*value.shape)
        inputs = (value.data_ptr(), *(t.data_ptr() for t in others))
        kernel["td_losses"](ctx.sizes, discount, *inputs, error.data_ptr(), loss.data_ptr())
        ctx.kernel = kernel
        ctx.save_for_backward(error, others[-1])
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        error, weight = ctx.saved_tensors
        grad_loss, grad_value = grad_loss.contiguous(), torch.empty_like(error)
        places = (t.data_ptr() for t in (error, weight, grad_loss, grad_value))
        ctx.kernel["td_losses_backward"](ctx.sizes, *places)
        return None, None, grad_value, *[None] * 6


class _Policy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernel: Functions, value: Tensor, log_prob: Tensor, alpha: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        loss, mean_log_prob = torch.empty_like(alpha), torch.empty_like(alpha)
        ctx.sizes = _sizes(*value.shape)
        places = (t.data_ptr() for t in (value, log_prob, alpha, weight, loss, mean_log_prob))
        kernel["policy_losses"](ctx.sizes, *places)
        ctx.kernel = kernel
        ctx.save_for_backward(value, alpha, weight)
        ctx.mark_non_differentiable(mean_log_prob)
        return loss, mean_log_prob

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        value, alpha, weight = ctx.saved_tensors
        seeds, _, *batch_and_tasks = value.shape
        grad_loss, grad_value = grad_loss.contiguous(), torch.empty_like(value)
        grad_log_prob = value.new_empty(seeds, *batch_and_tasks)
        places = (t.data_ptr() for t in (value, alpha, weight, grad_loss, grad_value, grad_log_prob))
        ctx.kernel["policy_losses_backward"](ctx.sizes, *places)
        return None, grad_value, grad_log_prob, None, None
