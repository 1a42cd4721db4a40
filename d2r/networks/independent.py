"""Single-task SAC (Haarnoja et al., arXiv 1812.05905): one plain network for each task, nothing shared.

The agents are trained side by side as one batched run: every parameter has the task as its second axis, so
a task's gradient reaches its own parameters only. It is the reference for positive and negative transfer.

Configuration: three hidden layers of 400 units, ReLU, for each agent: the network of MT-SAC without the
    task id.

Deviations:

1. The agents share one optimiser object and one batch of time indices; Adam works element by element and
   each loss has its own task's transitions only, so no agent's arithmetic depends on another's. Their run
   is one: a loss that is not a number in one agent ends it for all.
2. Initialisation as in the official D2R code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from d2r.config.networks import IndependentConfig
from d2r.networks.base import Network, Output, architecture
from d2r.networks.blocks import relu_after_each
from d2r.networks.maker import Maker
from d2r.networks.parts import OfTasks
from d2r.networks.routing import DETERMINISTIC, RouteRule


@architecture(IndependentConfig)
class IndependentNetwork(Network):
    """E copies of T separate networks; every parameter is [ensemble, task, ...]."""

    task_axis = 1

    def __init__(self, config: IndependentConfig, make: Maker):
        super().__init__(make)
        widths = [config.hidden_dim] * config.num_layers
        self.hidden = make.groups(make.num_tasks, make.inputs, *widths)
        self.head = make.group(make.num_tasks, config.hidden_dim, make.outputs, init="head")

    @property
    def by_task(self) -> Mapping[str, OfTasks]:
        """Everything."""
        return {name: OfTasks(1) for name, _ in self.named_parameters()}

    @property
    def output_layers(self) -> Sequence[nn.Module]:
        """One a task."""
        return (self.head,)

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs]; there is no route to choose."""
        h = relu_after_each(self.hidden, x.transpose(1, 2))
        return Output(self.head(h).transpose(1, 2))
