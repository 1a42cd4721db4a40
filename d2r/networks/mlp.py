"""MT-SAC's network (Yu et al., CoRL 2019, arXiv 1910.10897): one plain network for all tasks.

Configuration: three hidden layers of 400 units, ReLU, one-hot task id beside the observation (RchalYang/Soft-Module,
``meta_config/mt10/mtsac_rand.json``).

Deviations:

1. Initialisation as in the official D2R code, like every network here; the architecture is the source's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from d2r.config.networks import MlpConfig
from d2r.networks.base import Network, Output, architecture
from d2r.networks.blocks import linear_chain
from d2r.networks.layers import StackedLinear, StateTaskLinear, run_chain
from d2r.networks.routing import DETERMINISTIC, RouteRule


@architecture(MlpConfig)
class MlpNetwork(Network):
    """E copies of a plain multi-layer network on [state, one-hot task]."""

    def __init__(
        self,
        config: MlpConfig,
        inputs: int,
        outputs: int,
        num_tasks: int,
        ensemble: int,
        generator: torch.Generator,
    ):
        super().__init__()
        self.num_tasks, self.ensemble = num_tasks, ensemble
        self.first = StateTaskLinear(ensemble, inputs, num_tasks, config.hidden_dim, generator)
        self.hidden = linear_chain(ensemble, config.widths, generator)
        self.head = StackedLinear(ensemble, config.hidden_dim, outputs, generator, head=True)

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs]; there is no route to choose."""
        return Output(run_chain([*self.hidden, self.head], self.first(x).relu_()))
