"""MT-SAC's network (Yu et al., CoRL 2019, arXiv 1910.10897): one plain network for all tasks.

Configuration: three hidden layers of 400 units, ReLU, one-hot task id beside the observation (RchalYang/Soft-Module,
``meta_config/mt10/mtsac_rand.json``).

Deviations:

1. Initialisation as in the official D2R code, like every network here; the architecture is the source's.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from d2r.config.networks import MlpConfig
from d2r.networks.base import Network, Output, architecture
from d2r.networks.layers import run_chain
from d2r.networks.maker import Maker
from d2r.networks.routing import DETERMINISTIC, RouteRule


@architecture(MlpConfig)
class MlpNetwork(Network):
    """E copies of a plain multi-layer network on [state, one-hot task]."""

    def __init__(self, config: MlpConfig, make: Maker):
        super().__init__(make)
        self.first = make.state_and_task(config.hidden_dim)
        self.hidden = make.chain(*config.widths)
        self.head = make.head(config.hidden_dim)

    @property
    def output_layers(self) -> Sequence[nn.Module]:
        """The last layer."""
        return (self.head,)

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs]; there is no route to choose."""
        return Output(run_chain([self.first, *self.hidden, self.head], x))
