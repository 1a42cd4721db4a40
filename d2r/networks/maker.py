"""What a network is made with, beside its configuration: its ends, its copies, and a source of initial values."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from d2r.networks.blocks import GroupLinear, Init, TaskHeads, normal
from d2r.networks.layers import StackedLinear, StateTaskLinear, TaskLinear, uniform


class Maker(NamedTuple):
    """Makes the parts of E copies of a network, each part with the ensemble as the first axis of its parameters.

    Initial values are drawn in the order in which parts are made.

    Attributes:
        inputs: width of the network's input; 39 (an observation) for an actor, 43 (with the action) for a critic.
        outputs: width of its output; 8 (mean and log-std of the action) for an actor, 1 for a critic.
        ensemble: number of copies E.
    """

    inputs: int
    outputs: int
    num_tasks: int
    ensemble: int
    generator: torch.Generator

    def linear(self, a: int, b: int, head: bool = False) -> StackedLinear:
        """A linear layer from ``a`` to ``b`` units, as an output layer (all values near 0) if ``head``."""
        return StackedLinear(self.ensemble, a, b, self.generator, head)

    def head(self, width: int) -> StackedLinear:
        """The network's output layer."""
        return self.linear(width, self.outputs, head=True)

    def chain(self, *sizes: int) -> nn.ModuleList:
        """Linear layers from ``sizes[0]`` to ``sizes[1]`` to ..., with nothing between them yet."""
        return nn.ModuleList(self.linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))

    def task_encoder(self, width: int) -> TaskLinear:
        """A linear layer of the one-hot task id."""
        return TaskLinear(self.ensemble, self.num_tasks, width, self.generator)

    def state_and_task(self, width: int) -> StateTaskLinear:
        """A linear layer of the input with the one-hot task id beside it."""
        return StateTaskLinear(self.ensemble, self.inputs, self.num_tasks, width, self.generator)

    def task_heads(self, width: int, outputs: int | None = None) -> TaskHeads:
        """An output layer for each task, of ``outputs`` units or as many as the network has."""
        return TaskHeads(self.ensemble, self.num_tasks, width, outputs or self.outputs, self.generator)

    def group(self, count: int, a: int, b: int, init: Init = "hidden") -> GroupLinear:
        """``count`` linear layers side by side: one of each expert, module or task."""
        return GroupLinear(self.ensemble, count, a, b, self.generator, init)

    def groups(self, count: int, *sizes: int, init: Init = "hidden") -> nn.ModuleList:
        """Groups of ``count`` layers from ``sizes[0]`` to ``sizes[1]`` to ..., with nothing between them yet."""
        return nn.ModuleList(self.group(count, a, b, init) for a, b in zip(sizes, sizes[1:], strict=False))

    def normal(self, *shape: int) -> nn.Parameter:
        """A parameter [E, ...] of this shape, drawn from N(0, 1)."""
        return normal((self.ensemble, *shape), self.generator)

    def uniform(self, bound: float, *shape: int) -> nn.Parameter:
        """A parameter [E, ...] of this shape, drawn uniformly from [-bound, bound]."""
        return uniform((self.ensemble, *shape), bound, self.generator)
