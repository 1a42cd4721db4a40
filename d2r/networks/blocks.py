"""Building blocks of the baselines: groups of linear maps (heads, experts, modules) as one batched matrix product.

Activations of a group are laid out as [ensemble, group, row, feature]. Where the groups are tasks the rows
are the batch; where they are experts or modules the rows are all (batch, task) pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from d2r.networks.layers import HEAD_BOUND, HIDDEN_BIAS, StackedLinear, run_chain, uniform
from d2r.networks.parts import OfTasks, Parted

DEVIATION_WITHIN_TWO = 0.87962566
"""Standard deviation of a standard normal number that lies in [-2, 2]."""

Init = Literal["hidden", "head", "fan-in", "he"]


class GroupLinear(nn.Module):
    """E times G linear maps side by side: ``y[e, g] = x[e, g] W[e, g]^T + b[e, g]``.

    Args:
        ensemble: number of copies E. groups: number of maps G in each copy. init: ``hidden`` and ``head``
            as in ``layers.py``; ``fan-in``: weight and bias uniform in +-1/sqrt(inputs), which is
            PyTorch's default for a linear layer; ``he``: weight from a normal distribution of variance 2/inputs cut
            at two standard deviations, bias 0 (He et al., ICCV 2015, arXiv 1502.01852, as ALF and TensorFlow draw it).
    """

    def __init__(
        self,
        ensemble: int,
        groups: int,
        inputs: int,
        outputs: int,
        generator: torch.Generator,
        init: Init = "hidden",
    ):
        super().__init__()
        weights, biases = (ensemble, groups, outputs, inputs), (ensemble, groups, outputs)
        if init == "he":
            self.weight = he_normal(weights, generator)
            self.bias = nn.Parameter(torch.zeros(biases))
            return
        bounds = {"hidden": 1.0 / math.sqrt(outputs), "head": HEAD_BOUND, "fan-in": 1.0 / math.sqrt(inputs)}
        self.weight = uniform(weights, bounds[init], generator)
        if init == "hidden":
            self.bias = nn.Parameter(torch.full(biases, HIDDEN_BIAS))
        else:
            self.bias = uniform(biases, bounds[init], generator)

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        """Map [E or 1, G or 1, rows, inputs] to [E, G, rows, outputs], with a ReLU after it if asked for."""
        return grouped_linear(x, self.weight, self.bias, relu)


def grouped_linear(x: Tensor, weight: Tensor, bias: Tensor, relu: bool = False) -> Tensor:
    """Apply linear maps to ``x`` [E or 1, G or 1, rows, inputs], with a ReLU after them if asked for.

    Args:
        weight: [E, G, outputs, inputs]; bias: [E, G, outputs].
        relu: before the last change of shape, for the reason given in ``layers.py``.
    """
    ensemble, groups, outputs, inputs = weight.shape
    rows = x.shape[2]
    if x.shape[1] == 1:
        shared = x.expand(ensemble, 1, rows, inputs).squeeze(1)
        y = torch.baddbmm(
            bias.reshape(ensemble, 1, -1), shared, weight.reshape(ensemble, -1, inputs).transpose(1, 2)
        )
        if relu:
            y = y.relu_()
        return y.view(ensemble, rows, groups, outputs).transpose(1, 2)
    flat = x.expand(ensemble, groups, rows, inputs).reshape(ensemble * groups, rows, inputs)
    y = torch.baddbmm(bias.reshape(-1, 1, outputs), flat, weight.reshape(-1, outputs, inputs).transpose(1, 2))
    if relu:
        y = y.relu_()
    return y.view(ensemble, groups, rows, outputs)


class TaskHeads(Parted):
    """One linear output layer for each task."""

    def __init__(self, ensemble: int, num_tasks: int, inputs: int, outputs: int, generator: torch.Generator):
        super().__init__()
        self.linear = GroupLinear(ensemble, num_tasks, inputs, outputs, generator, init="head")

    @property
    def by_task(self) -> Mapping[str, OfTasks]:
        """All of it."""
        return {"linear.weight": OfTasks(1), "linear.bias": OfTasks(1)}

    def forward(self, h: Tensor) -> Tensor:
        """Map [E, batch, task, inputs] to [E, batch, task, outputs], each task by its own head."""
        out: Tensor = self.linear(h.transpose(1, 2))
        return out.transpose(1, 2)


def as_rows(x: Tensor) -> Tensor:
    """Lay [E, batch, task, feature] out as [E, 1, row, feature], the input that all experts or modules share."""
    return x.flatten(1, 2).unsqueeze(1)


def mix(weights: Tensor, h: Tensor) -> Tensor:
    """Weighted sums of what experts or modules computed.

    Args:
        weights: [E, batch or 1, task, target, source].
        h: [E, source, row, feature], a row being a (batch, task) pair.

    Returns:
        [E, target, row, feature].
    """
    batch = h.shape[2] // weights.shape[2]
    per_row = weights.expand(-1, batch, -1, -1, -1).flatten(1, 2)
    return (per_row @ h.transpose(1, 2)).transpose(1, 2)


def normal(shape: tuple[int, ...], generator: torch.Generator) -> nn.Parameter:
    """Return a parameter drawn from N(0, 1) in float32."""
    return nn.Parameter(torch.empty(shape).normal_(generator=generator))


def he_normal(shape: tuple[int, ...], generator: torch.Generator) -> nn.Parameter:
    """Return weights [..., inputs] of variance 2/inputs, normal up to two standard deviations, in float32."""
    weight = nn.init.trunc_normal_(torch.empty(shape), a=-2.0, b=2.0, generator=generator)
    return nn.Parameter(weight.mul_(math.sqrt(2.0 / shape[-1])).div_(DEVIATION_WITHIN_TWO))


def relu_after_each(layers: nn.ModuleList, h: Tensor) -> Tensor:
    """Apply ``layers``, each followed by ReLU."""
    if len(layers) > 0 and isinstance(layers[0], StackedLinear):
        return run_chain(layers, h, relu_last=True)
    for layer in layers:
        h = layer(h, relu=True)
    return h


def relu_between(layers: nn.ModuleList, h: Tensor) -> Tensor:
    """Apply ``layers`` with ReLU between them and none at the end."""
    if len(layers) > 0 and isinstance(layers[0], StackedLinear):
        return run_chain(layers, h)
    for layer in layers[:-1]:
        h = layer(h, relu=True)
    out: Tensor = layers[-1](h)
    return out
