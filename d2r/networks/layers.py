"""Linear layers with stacked weights: E independent copies computed by one batched matrix product.

Activations are laid out as [ensemble, batch, task, feature]. The task axis is positional (index = task id), so one-hot
task ids are never built: a linear map of a one-hot vector is a row of its weight matrix.

Initialisation follows the official code (``utils/init.py``), which bounds hidden weights by the number of
*output* units (N11 in ``docs/protocols.md``) and sets hidden biases to 0.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from d2r.kernel.library import serving
from d2r.networks import compiled
from d2r.networks.parts import OfTasks, Parted

HIDDEN_BIAS = 0.1
HEAD_BOUND = 3e-3


def at_least_float32(t: Tensor) -> Tensor:
    """``t`` in float32 if it is in fewer bits, as what is computed under autocast is."""
    return t.to(torch.promote_types(t.dtype, torch.float32))


def uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> nn.Parameter:
    """Return a parameter drawn uniformly from [-bound, bound] in float32."""
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))


class StackedLinear(nn.Module):
    """E linear maps side by side: ``y[e] = x[e] W[e]^T + b[e]``.

    Args:
        ensemble: number of copies E.
        head: initialise as an output layer (all values in +-3e-3) instead of a hidden one.
    """

    def __init__(
        self, ensemble: int, inputs: int, outputs: int, generator: torch.Generator, head: bool = False
    ):
        super().__init__()
        bound = HEAD_BOUND if head else 1.0 / math.sqrt(outputs)
        self.weight = uniform((ensemble, outputs, inputs), bound, generator)
        if head:
            self.bias = uniform((ensemble, outputs), HEAD_BOUND, generator)
        else:
            self.bias = nn.Parameter(torch.full((ensemble, outputs), HIDDEN_BIAS))

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs], with a ReLU after it if asked for.

        The ReLU is in place, and before the result is seen in another shape: autograd would copy the gradient
        of a view that was written to.
        """
        ensemble, outputs, inputs = self.weight.shape
        batch, tasks = x.shape[1:3]
        kernel = serving(x, self.weight)
        if kernel is not None:
            return compiled.run_chain(
                kernel, compiled.Chain(x, None, False, relu, [self.weight], [self.bias])
            )
        rows = x.expand(ensemble, -1, -1, -1).reshape(ensemble, batch * tasks, inputs)
        y = torch.baddbmm(self.bias.unsqueeze(1), rows, self.weight.transpose(1, 2))
        if relu:
            y = y.relu_()
        return y.view(ensemble, batch, tasks, outputs)

    def transposed(self, x: Tensor) -> Tensor:
        """Map [E, batch, task, inputs] to [E, outputs, batch * task]: each output of all rows side by side."""
        return torch.baddbmm(self.bias.unsqueeze(2), self.weight, x.flatten(1, 2).transpose(1, 2))


class TaskLinear(Parted):
    """A linear map of the one-hot task id: one learned vector per task, plus a bias."""

    def __init__(self, ensemble: int, num_tasks: int, outputs: int, generator: torch.Generator):
        super().__init__()
        self.weight = uniform((ensemble, outputs, num_tasks), 1.0 / math.sqrt(outputs), generator)
        self.bias = nn.Parameter(torch.full((ensemble, outputs), HIDDEN_BIAS))

    @property
    def by_task(self) -> Mapping[str, OfTasks]:
        """The learned vectors; the bias is common to all tasks."""
        return {"weight": OfTasks(2)}

    def forward(self) -> Tensor:
        """Return [E, 1, task, outputs]."""
        vectors = self.weight.transpose(1, 2) + self.bias.unsqueeze(1)
        return vectors.contiguous().unsqueeze(1)  # or products with it would be laid out like the weight


class StateTaskLinear(Parted):
    """A linear map of the state with the one-hot task id appended, as plain multi-task networks use it."""

    def __init__(self, ensemble: int, inputs: int, num_tasks: int, outputs: int, generator: torch.Generator):
        super().__init__()
        bound = 1.0 / math.sqrt(outputs)
        self.weight = uniform((ensemble, outputs, inputs + num_tasks), bound, generator)
        self.bias = nn.Parameter(torch.full((ensemble, outputs), HIDDEN_BIAS))
        self.inputs = inputs

    @property
    def by_task(self) -> Mapping[str, OfTasks]:
        """The columns that the one-hot task id picks."""
        return {"weight": OfTasks(2, self.inputs)}

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs], with a ReLU after it if asked for."""
        ensemble, outputs, _ = self.weight.shape
        batch, tasks = x.shape[1:3]
        rows = x.expand(ensemble, -1, -1, -1).reshape(ensemble, batch * tasks, self.inputs)
        of_state = torch.bmm(rows, self.weight[..., : self.inputs].transpose(1, 2))
        of_task = self.weight[..., self.inputs :].transpose(1, 2) + self.bias.unsqueeze(1)
        y = of_state.view(ensemble, batch, tasks, outputs) + of_task.unsqueeze(1)
        return y.relu_() if relu else y


def run_chain(
    layers: Iterable[nn.Module],
    x: Tensor,
    relu_last: bool = False,
    relu_first: bool = False,
    scale: Tensor | None = None,
) -> Tensor:
    """Apply ``layers`` to ``x`` with ReLUs between them.

    Args:
        layers: linear ones; only the first may see the task.
        x: [E or 1, batch, task, inputs]; scale: [E, 1, task, inputs], which it is multiplied with first, or none.
        relu_first: whether a ReLU comes before the first layer, after the scale.
        relu_last: whether one follows the last layer.
    """
    linears = cast("list[StackedLinear | StateTaskLinear]", list(layers))
    kernel = serving(x, linears[0].weight)
    if kernel is not None:
        parameters = weights_and_biases(linears)
        weights, biases = parameters[: len(linears)], parameters[len(linears) :]
        return compiled.run_chain(kernel, compiled.Chain(x, scale, relu_first, relu_last, weights, biases))
    h = x if scale is None else scale * x
    h = h.relu() if relu_first else h
    for layer in linears[:-1]:
        h = layer(h, relu=True)
    out: Tensor = linears[-1](h, relu=relu_last)
    return out


def weights_and_biases(layers: Iterable[nn.Module]) -> list[Tensor]:
    """Weights of linear layers, then their biases."""
    linears = cast("list[StackedLinear]", list(layers))
    return [*(layer.weight for layer in linears), *(layer.bias for layer in linears)]


def widths(layers: Iterable[nn.Module]) -> tuple[int, ...]:
    """Widths of what goes into linear layers, and of what comes out of the last."""
    weights = [cast("StackedLinear", layer).weight for layer in layers]
    return (weights[0].shape[2], *(weight.shape[1] for weight in weights))
