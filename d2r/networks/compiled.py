"""Chains of linear layers by the compiled library, as a function with gradients.

It computes what PyTorch's operators compute in ``layers.py``, to rounding, which calls it where ``serving`` finds that
the library serves. D2R's own part of the library is called in ``networks/d2r/compiled.py``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from d2r.kernel.library import Function

Functions = dict[str, Function]


def pointer(t: Tensor | None) -> int | None:
    """Where a tensor's numbers begin."""
    return None if t is None else t.data_ptr()


def numbers(*values: int) -> Any:
    """Numbers as the library takes them."""
    return (ctypes.c_long * len(values))(*values)


def pointers(tensors: Sequence[Tensor]) -> Any:
    """Where the numbers of several tensors begin."""
    return (ctypes.c_void_p * len(tensors))(*(t.data_ptr() for t in tensors))


def wants_gradient(*tensors: Tensor) -> bool:
    """Whether a backward pass may come."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


class Chain(NamedTuple):
    """Linear layers with ReLUs between them.

    Attributes:
        x: [E or 1, batch, task, inputs]; scale: [E, 1, task, inputs] to multiply it with, or none.
        relu_first: whether a ReLU comes before the first layer, after the scale.
        relu_last: whether one follows the last layer.
        weights: of each layer, [E, outputs, inputs], the first with a column more for each task if it sees the one-hot
            task beside its input; biases: [E, outputs].
    """

    x: Tensor
    scale: Tensor | None
    relu_first: bool
    relu_last: bool
    weights: Sequence[Tensor]
    biases: Sequence[Tensor]

    def sizes(self) -> Any:
        """Sizes as the library takes them."""
        members, batch, tasks, inputs = self.x.shape
        ensemble, first, seen = self.weights[0].shape
        rows = batch * tasks
        return _sizes(
            *(ensemble, rows, tasks, len(self.weights), rows * inputs if members > 1 else 0),
            *(self.relu_first, self.relu_last, seen > inputs),
            *(inputs, first, *(weight.shape[1] for weight in self.weights[1:])),
        )


_sizes = cache(numbers)


def run_chain(kernel: Functions, chain: Chain) -> Tensor:
    """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs]."""
    scale = () if chain.scale is None else (chain.scale,)
    if wants_gradient(chain.x, *chain.weights, *chain.biases, *scale):
        options = kernel, len(chain.weights), chain.relu_first, chain.relu_last
        y: Tensor = _Chain.apply(*options, chain.x, chain.scale, *chain.weights, *chain.biases)  # type: ignore[no-untyped-call]
        return y
    return _run_chain(kernel, chain._replace(x=chain.x.contiguous()), chain.sizes(), None)


def _run_chain(kernel: Functions, chain: Chain, sizes: Any, keep: Tensor | None) -> Tensor:
    weight = chain.weights[-1]
    y = weight.new_empty(len(weight), *chain.x.shape[1:3], weight.shape[1])
    kernel["chain"](
        sizes,
        chain.x.data_ptr(),
        pointer(chain.scale),
        pointers(chain.weights),
        pointers(chain.biases),
        y.data_ptr(),
        pointer(keep),
        torch.get_num_threads(),
    )
    return y


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kernel: Functions,
        layers: int,
        relu_first: bool,
        relu_last: bool,
        x: Tensor,
        scale: Tensor | None,
        *parameters: Tensor,
    ) -> Tensor:
        chain = Chain(x.contiguous(), scale, relu_first, relu_last, parameters[:layers], parameters[layers:])
        sizes = chain.sizes()
        keep = x.new_empty(kernel["chain_kept"](sizes))
        y = _run_chain(kernel, chain, sizes, keep)
        ctx.kernel, ctx.options, ctx.sizes = kernel, (relu_first, relu_last), sizes
        ctx.save_for_backward(y if relu_last else None, keep, chain.x, scale, *chain.weights)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        y, keep, x, scale, *weights = ctx.saved_tensors
        _, _, _, _, want_x, want_scale, want_parameters, *_ = ctx.needs_input_grad
        grad_y = grad_y.contiguous()
        grad_x = torch.empty_like(x) if want_x else None
        grad_scale = torch.empty_like(scale) if want_scale else None
        of_weights = [torch.empty_like(weight) for weight in weights] if want_parameters else []
        of_biases = [weight.new_empty(weight.shape[:2]) for weight in weights] if want_parameters else []
        ctx.kernel["chain_backward"](
            ctx.sizes,
            x.data_ptr(),
            pointer(scale),
            pointers(weights),
            pointer(y),
            keep.data_ptr(),
            grad_y.data_ptr(),
            pointer(grad_x),
            pointer(grad_scale),
            pointers(of_weights) if want_parameters else None,
            pointers(of_biases) if want_parameters else None,
            torch.get_num_threads(),
        )
        parameters = [*of_weights, *of_biases] or [None] * (2 * len(weights))
        return None, None, None, None, grad_x, grad_scale, *parameters
