"""MT-MH-SAC's network (Yu et al., CoRL 2019, arXiv 1910.10897): a shared trunk with one output head for each task.

Configuration: three hidden layers of 400 units, ReLU, one linear head a task (RchalYang/Soft-Module,
``starter/mt_para_mhmt_sac.py``: one wide last layer whose columns are picked by the task).

Deviations:

1. The trunk does not see the one-hot task id unless ``task_input`` is set. Those of RchalYang/Soft-Module
   (``obs_type: with_goal_and_id``) and metaworld-algorithms do; left out, heads alone tell tasks apart.
2. Heads are one linear layer; those of facebookresearch/mtrl have a hidden layer of 400.
3. Initialisation as in the official D2R code.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from d2r.config.networks import MultiHeadConfig
from d2r.networks.base import Network, Output, architecture
from d2r.networks.layers import run_chain
from d2r.networks.maker import Maker
from d2r.networks.routing import DETERMINISTIC, RouteRule


@architecture(MultiHeadConfig)
class MultiHeadNetwork(Network):
    """E copies of a shared trunk with a head for each task."""

    def __init__(self, config: MultiHeadConfig, make: Maker):
        super().__init__(make)
        width = config.hidden_dim
        self.first: nn.Module = (
            make.state_and_task(width) if config.task_input else make.linear(make.inputs, width)
        )
        self.hidden = make.chain(*config.widths)
        self.heads = make.task_heads(width)

    @property
    def output_layers(self) -> Sequence[nn.Module]:
        """One a task."""
        return (self.heads,)

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs]; there is no route to choose."""
        return Output(self.heads(run_chain([self.first, *self.hidden], x, relu_last=True)))
