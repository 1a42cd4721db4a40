"""Routing decisions and module stacks by the compiled library, as functions with gradients.

Each computes what PyTorch's operators compute in ``choice.py`` and ``stack.py``, to rounding; these call it where
``serving`` finds that the library serves. ``whole.py`` has all parts of a network as one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from d2r.networks.compiled import Functions, numbers, pointer, wants_gradient


class Decided(NamedTuple):
    """A routing decision, each [E, group, K, row]; ``suitable`` is none where it was not asked for."""

    sources: Tensor
    weights: Tensor
    suitable: Tensor | None


class Question(NamedTuple):
    """How sources are to be chosen.

    Attributes:
        in_use, top_k: how many modules are there to be chosen, and K.
        noise: [E, logit, row] to be added to the logits, which are divided by ``temperature`` [E or 1, task] first; or
            none.
        given: [E or 1, row, group, K] uint8, sources to be taken as they are; or none.
        restrict: whether ``suitable`` is asked for.
    """

    groups: int
    in_use: int
    top_k: int
    restrict: bool
    noise: Tensor | None = None
    temperature: Tensor | None = None
    given: Tensor | None = None


def decide(kernel: Functions, logits: Tensor, question: Question) -> Decided:
    """Choose sources, weigh them by the softmax of their logits, and tell which of them ResRouting lets be optimised.

    Args:
        logits: [E, logit, row], in any layout.
    """
    if wants_gradient(logits):
        return Decided(*_Decide.apply(kernel, logits, question))  # type: ignore[no-untyped-call]
    return _decide(kernel, logits, question)


def _decide(kernel: Functions, logits: Tensor, question: Question) -> Decided:
    ensemble, _, rows = logits.shape
    shape = (ensemble, question.groups, question.top_k, rows)
    sources = logits.new_empty(shape, dtype=torch.long)
    weights = logits.new_empty(shape)
    suitable = logits.new_empty(shape, dtype=torch.bool) if question.restrict else None
    noise, temperature = question.noise, question.temperature
    coldness = None if temperature is None else temperature.reciprocal()
    tasks = 1 if coldness is None else coldness.shape[1]
    sizes = numbers(
        *(ensemble, rows, tasks),
        *(question.groups, question.in_use, question.top_k),
        *logits.stride(),
        *((0, 0, 0) if noise is None else noise.stride()),
        0 if question.given is None or len(question.given) == 1 else question.given.stride(0),
        0 if coldness is None or len(coldness) == 1 else tasks,
    )
    kernel["decide"](
        sizes,
        logits.data_ptr(),
        pointer(noise),
        pointer(coldness),
        pointer(question.given),
        sources.data_ptr(),
        weights.data_ptr(),
        pointer(suitable),
        torch.get_num_threads(),
    )
    return Decided(sources, weights, suitable)


class _Decide(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Functions, logits: Tensor, question: Question) -> Decided:
        decided = _decide(kernel, logits, question)
        ctx.kernel, ctx.question, ctx.count = kernel, question, logits.shape[1]
        ctx.save_for_backward(decided.sources, decided.weights)
        ctx.mark_non_differentiable(*(t for t in (decided.sources, decided.suitable) if t is not None))
        return decided

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor, grad_weights: Tensor, __: Tensor) -> tuple[Tensor | None, ...]:
        sources, weights = ctx.saved_tensors
        ensemble, groups, top_k, rows = sources.shape
        grad_weights = grad_weights.contiguous()
        grad_logits = weights.new_empty(ensemble, rows, ctx.count)
        sizes = numbers(ensemble, rows, 0, groups, ctx.question.in_use, top_k)
        ctx.kernel["decide_backward"](
            sizes, sources.data_ptr(), weights.data_ptr(), grad_weights.data_ptr(), grad_logits.data_ptr()
        )
        return None, grad_logits.transpose(1, 2), None


class Stack(NamedTuple):
    """What a module stack works on: see ``run_modules``; sources, weights and suitable are [N, E, B, K]."""

    first: Tensor
    weight: Tensor
    bias: Tensor
    weights: Tensor
    sources: Tensor
    suitable: Tensor | None
    residual: bool

    def sizes(self) -> Any:
        """Sizes, and distances in the arrays."""
        ensemble, rows, dim = self.first.shape
        count, _, _, top_k = self.sources.shape
        of_suitable = (0, 0, 0, 0) if self.suitable is None else self.suitable.stride()
        return numbers(
            *(ensemble, rows, dim, count, top_k, self.residual, self.weight.stride(0), self.bias.stride(0)),
            *(*self.sources.stride(), *self.weights.stride(), *of_suitable),
        )


def run_modules(kernel: Functions, stack: Stack) -> Tensor:
    """Run modules 2..N on the output of module 1 and mix the result, [E, B, D]."""
    if wants_gradient(stack.first, stack.weight, stack.bias, stack.weights):
        out: Tensor = _Stack.apply(kernel, *stack)  # type: ignore[no-untyped-call]
        return out
    return _run(kernel, stack, None)


def _run(kernel: Functions, stack: Stack, own: Tensor | None) -> Tensor:
    out = torch.empty_like(stack.first)
    kernel["stack"](
        stack.sizes(),
        stack.first.data_ptr(),
        stack.weight.data_ptr(),
        stack.bias.data_ptr(),
        stack.sources.data_ptr(),
        stack.weights.data_ptr(),
        out.data_ptr(),
        pointer(own),
        torch.get_num_threads(),
    )
    return out


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kernel: Functions,
        first: Tensor,
        weight: Tensor,
        bias: Tensor,
        weights: Tensor,
        sources: Tensor,
        suitable: Tensor | None,
        residual: bool,
    ) -> Tensor:
        stack = Stack(first, weight, bias, weights, sources, suitable, residual)
        ensemble, rows, dim = first.shape
        own = first.new_empty(ensemble, rows, len(sources) - 1, kernel["width"](dim))
        out = _run(kernel, stack, own)
        ctx.kernel, ctx.residual = kernel, residual
        ctx.save_for_backward(first, weight, bias, weights, sources, suitable, own)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        first, weight, bias, weights, sources, suitable, own = ctx.saved_tensors
        stack = Stack(first, weight, bias, weights, sources, suitable, ctx.residual)
        ensemble, rows, dim = stack.first.shape
        count, _, _, top_k = stack.sources.shape
        grad_out = grad_out.contiguous()
        grad_first = torch.empty_like(stack.first)
        grad_weights = stack.first.new_empty(ensemble, count, top_k, rows)
        want_parameters = ctx.needs_input_grad[2]
        grad_weight = stack.first.new_empty(ensemble, count - 1, dim, dim) if want_parameters else None
        grad_bias = stack.first.new_empty(ensemble, count - 1, dim) if want_parameters else None
        ctx.kernel["stack_backward"](
            stack.sizes(),
            stack.first.data_ptr(),
            stack.weight.data_ptr(),
            stack.bias.data_ptr(),
            stack.sources.data_ptr(),
            stack.weights.data_ptr(),
            pointer(stack.suitable),
            own.data_ptr(),
            grad_out.data_ptr(),
            grad_first.data_ptr(),
            grad_weights.data_ptr(),
            pointer(grad_weight),
            pointer(grad_bias),
            torch.get_num_threads(),
        )
        return None, grad_first, grad_weight, grad_bias, grad_weights.permute(1, 0, 3, 2), None, None, None
