"""Sampled actions by the compiled library, as a function with gradients: what ``policy.py`` computes, to rounding."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from d2r.networks.compiled import Functions, numbers, wants_gradient

Limits = tuple[float, float, float]
"""Least and largest log-std, and what is added in the change of variables."""


def sample_action(kernel: Functions, output: Tensor, noise: Tensor, limits: Limits) -> tuple[Tensor, Tensor]:
    """Return actions and their log-probabilities; see ``policy.sample_action``."""
    if wants_gradient(output):
        return _Sampled.apply(kernel, limits, output, noise)  # type: ignore[no-any-return, no-untyped-call]
    return _sample(kernel, output.contiguous(), noise.contiguous(), limits)


def _given(output: Tensor, noise: Tensor, limits: Limits) -> tuple[Any, ...]:
    """What both functions of the library begin with."""
    actions = noise.shape[-1]
    sizes = numbers(noise.numel() // actions, actions)
    return sizes, (ctypes.c_double * 3)(*limits), output.data_ptr(), noise.data_ptr()


def _sample(kernel: Functions, output: Tensor, noise: Tensor, limits: Limits) -> tuple[Tensor, Tensor]:
    action, log_prob = torch.empty_like(noise), noise.new_empty(noise.shape[:-1])
    kernel["sample"](*_given(output, noise, limits), action.data_ptr(), log_prob.data_ptr())
    return action, log_prob


class _Sampled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernel: Functions, limits: Limits, output: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        output, noise = output.contiguous(), noise.contiguous()
        action, log_prob = _sample(kernel, output, noise, limits)
        ctx.kernel, ctx.limits = kernel, limits
        ctx.save_for_backward(output, noise, action)
        return action, log_prob

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_action: Tensor, grad_log_prob: Tensor) -> tuple[Tensor | None, ...]:
        output, noise, action = ctx.saved_tensors
        grad_action, grad_log_prob = grad_action.contiguous(), grad_log_prob.contiguous()
        grad_output = torch.empty_like(output)
        ctx.kernel["sample_backward"](
            *_given(output, noise, ctx.limits),
            action.data_ptr(),
            grad_action.data_ptr(),
            grad_log_prob.data_ptr(),
            grad_output.data_ptr(),
        )
        return None, None, grad_output, None
