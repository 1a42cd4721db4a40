"""Multi-gate mixture of experts (Ma et al., KDD 2018): shared experts, with a gate and a head for each task.

    g_task(s) = softmax(W_task s)          output_task = head_task(sum_k g_task,k(s) expert_k(s))

Configuration: MOORE's, so that the two differ by orthogonality and gate: k = 4 experts on MT10 and 6 on
MT50, each three hidden layers of 400. The multi-task RL papers that report "MMoE" (T3S, IJCNN 2023) do not
state theirs.

Deviations:

1. Experts end in ReLU, as in the paper; heads ("towers") are one linear layer.
2. Gates have a bias and start near uniform (+-3e-3); everything else is initialised as in the official D2R
   code.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from d2r.config.networks import MmoeConfig
from d2r.networks.base import Network, Output, architecture
from d2r.networks.blocks import as_rows, mix, relu_after_each
from d2r.networks.maker import Maker
from d2r.networks.routing import DETERMINISTIC, RouteRule


@architecture(MmoeConfig)
class MmoeNetwork(Network):
    """E copies of k experts with a gate and a head for each task."""

    def __init__(self, config: MmoeConfig, make: Maker):
        super().__init__(make)
        count, width = config.num_experts, config.hidden_dim
        self.experts = make.groups(count, make.inputs, *[width] * config.num_layers)
        self.gates = make.task_heads(make.inputs, count)
        self.heads = make.task_heads(width)

    @property
    def routing_layers(self) -> Sequence[nn.Module]:
        """The gates, one a task."""
        return (self.gates,)

    @property
    def output_layers(self) -> Sequence[nn.Module]:
        """One a task."""
        return (self.heads,)

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs]; gates are soft, so no route is sampled."""
        h = relu_after_each(self.experts, as_rows(x))
        features = mix(self.gate(x).unsqueeze(-2), h).view(self.ensemble, x.shape[1], self.num_tasks, -1)
        return Output(self.heads(features))

    def gate(self, x: Tensor) -> Tensor:
        """Weight of each expert, [E, batch, task, k]; they sum to 1."""
        out: Tensor = self.gates(x)
        return out.softmax(-1)
