"""D2R's network by the compiled library as one function with gradients.

``network.py`` and ``levels.py`` say what is computed, each part a function of its own to autograd. A small network
spends more time between its parts than in them, so where the library serves all of them they are one call here: the
same parts in the same order, and the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from d2r.networks.compiled import Functions, numbers, pointer, pointers, wants_gradient
from d2r.networks.d2r.compiled import Decided, Question


class Wiring(NamedTuple):
    """Sizes and switches of a network.

    Attributes:
        encoder, router: widths of what goes into their layers and comes out of the last.
        dim, outputs: widths of modules and head.
        relu_first: whether the router sees the ReLU of state times task.
        residual: whether modules have a shortcut.
    """

    encoder: tuple[int, ...]
    router: tuple[int, ...]
    dim: int
    outputs: int
    relu_first: bool
    residual: bool


class Answer(NamedTuple):
    """What a network answers, [E, batch, task, out], its route, and the logits that it had, [E, row, logit]."""

    value: Tensor
    decided: Decided
    logits: Tensor


def run(
    kernel: Functions, wiring: Wiring, question: Question, x: Tensor, parameters: Sequence[Tensor]
) -> Answer:
    """Map [E or 1, batch, task, inputs] to an answer, of which the value alone has gradients.

    Args:
        parameters: part by part, of chains all weights and then all biases: encoder, task encoder, router, module 1,
            modules 2..N, head.
    """
    if wants_gradient(x, *parameters):
        return _answer(*_Whole.apply(kernel, wiring, question, x, *parameters))  # type: ignore[no-untyped-call]
    return _answer(*_Pass(kernel, wiring, question, x.contiguous(), parameters).forward(keep=False)[:-1])


def _answer(
    value: Tensor, sources: Tensor, weights: Tensor, suitable: Tensor | None, logits: Tensor
) -> Answer:
    return Answer(value, Decided(sources, weights, suitable), logits)


@cache
def _sizes(wiring: Wiring, ensemble: int, shape: torch.Size, count: int, top_k: int) -> Any:
    members, batch, tasks, inputs = shape
    rows = batch * tasks
    return numbers(
        *(ensemble, rows, tasks, rows * inputs if members > 1 else 0),
        *(count, top_k, wiring.dim, wiring.outputs, wiring.relu_first, wiring.residual),
        *(len(wiring.encoder) - 1, len(wiring.router) - 1, *wiring.encoder, *wiring.router),
    )


class _Pass(NamedTuple):
    """What a pass in either direction works on; ``x`` is contiguous."""

    kernel: Functions
    wiring: Wiring
    question: Question
    x: Tensor
    parameters: Sequence[Tensor]

    def sizes(self) -> Any:
        question = self.question
        return _sizes(self.wiring, len(self.parameters[0]), self.x.shape, question.groups, question.top_k)

    def forward(self, keep: bool) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor, Tensor]:
        """Value, sources, weights, suitable, logits, and the memory that the way back reads if it was to be kept."""
        question, sizes, x = self.question, self.sizes(), self.x
        ensemble, (_, batch, tasks, _) = len(self.parameters[0]), x.shape
        rows, shape = batch * tasks, (ensemble, question.groups, question.top_k, batch * tasks)
        value = x.new_empty(ensemble, batch, tasks, self.wiring.outputs)
        logits = x.new_empty(ensemble, rows, self.wiring.router[-1])
        sources, weights = x.new_empty(shape, dtype=torch.long), x.new_empty(shape)
        suitable = x.new_empty(shape, dtype=torch.bool) if question.restrict else None
        memory = x.new_empty(self.kernel["whole_room"](sizes, keep))
        coldness = None if question.temperature is None else question.temperature.reciprocal()
        noise, given = question.noise, question.given
        distances = numbers(
            *((0, 0, 0) if noise is None else noise.stride()),
            0 if coldness is None or len(coldness) == 1 else tasks,
            0 if given is None or len(given) == 1 else given.stride(0),
        )
        self.kernel["whole"](
            sizes,
            pointers(self.parameters),
            x.data_ptr(),
            distances,
            pointer(noise),
            pointer(coldness),
            pointer(given),
            memory.data_ptr(),
            keep,
            logits.data_ptr(),
            sources.data_ptr(),
            weights.data_ptr(),
            pointer(suitable),
            value.data_ptr(),
            torch.get_num_threads(),
        )
        return value, sources, weights, suitable, logits, memory

    def backward(
        self,
        memory: Tensor,
        decided: Decided,
        grad_value: Tensor,
        grad_x: Tensor | None,
        gradients: Sequence[Tensor],
    ) -> None:
        """Fill the gradients of the input and of all parameters, if they are wanted; ``grad_value`` is contiguous."""
        self.kernel["whole_backward"](
            self.sizes(),
            pointers(self.parameters),
            self.x.data_ptr(),
            memory.data_ptr(),
            decided.sources.data_ptr(),
            decided.weights.data_ptr(),
            pointer(decided.suitable),
            grad_value.data_ptr(),
            pointer(grad_x),
            pointers(gradients) if gradients else None,
            torch.get_num_threads(),
        )


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernel: Functions, wiring: Wiring, question: Question, x: Tensor, *parameters: Tensor
    ) -> tuple[Tensor | None, ...]:
        x = x.contiguous()
        value, *given, memory = _Pass(kernel, wiring, question, x, parameters).forward(keep=True)
        ctx.options = kernel, wiring, question
        ctx.save_for_backward(x, memory, *given[:3], *parameters)
        ctx.mark_non_differentiable(*(t for t in given if t is not None))
        return value, *given

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_value: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, memory, sources, weights, suitable, *parameters = ctx.saved_tensors
        kernel, wiring, question = ctx.options
        want_x, *want = ctx.needs_input_grad[3:]
        grad_x = torch.empty_like(x) if want_x else None
        gradients: list[Tensor] = []
        if any(want):
            counts = [parameter.numel() for parameter in parameters]
            pieces = x.new_empty(sum(counts)).split(counts)
            gradients = [piece.view_as(of) for piece, of in zip(pieces, parameters, strict=True)]
        back = _Pass(kernel, wiring, question, x, parameters)
        back.backward(memory, Decided(sources, weights, suitable), grad_value.contiguous(), grad_x, gradients)
        none = [None] * len(parameters)
        return None, None, None, grad_x, *(gradients or none)
