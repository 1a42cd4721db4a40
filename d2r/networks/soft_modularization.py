"""Soft Modularization (Yang et al., NeurIPS 2020, arXiv 2003.13661): modules mixed softly, per state and task.

    f = state encoder(s)         e = task encoder(z)         g = W_g2 ReLU(W_g1 ReLU(e * f))
    p^1 = softmax(W_p ReLU(g))                               weights of layer 1 into layer 2, [target, source]
    p^l = softmax(W_p^l ReLU(W_u^l [p^1, ..., p^(l-1)] * g))
    h^1_j = W^1_j ReLU(f) + b^1_j       h^(l+1)_i = W^(l+1)_i ReLU(sum_j p^l_ij h^l_j) + b^(l+1)_i
    output = W_o ReLU(sum_j p^out_j h^L_j) + b_o

Configuration (RchalYang/Soft-Module, ``meta_config``): encoders 400-400 and 400, gating 256-256; ``deep``
is 4 layers of 4 modules of 128 units, ``shallow`` 2 layers of 2 modules of 256.

Deviations of this file from the paper, all as in the authors' code (``torchrl/networks/nets.py``,
ModularGatedCascadeCondNet):

1. The gate of layer l sees the weights of all earlier layers, concatenated; the paper prints the layer
   before only.
2. There is a ReLU before W_p and one after every weighted sum; modules themselves have none.
3. The layers that emit routing logits start near zero (+-3e-3), so routing starts uniform.

Of our own: 4. Twin critics, the same network with the action appended to the state as in the authors' code, are one
stacked network here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from d2r.config.networks import SoftModularizationConfig
from d2r.networks.base import Network, Output, architecture
from d2r.networks.blocks import as_rows, mix, relu_between
from d2r.networks.maker import Maker
from d2r.networks.routing import DETERMINISTIC, RouteRule


@architecture(SoftModularizationConfig)
class SoftModularizationNetwork(Network):
    """E copies of L layers of M softly mixed modules."""

    def __init__(self, config: SoftModularizationConfig, make: Maker):
        super().__init__(make)
        self.modules_per_layer = config.modules_per_layer
        layers, count, width, gate = (
            config.num_layers,
            config.modules_per_layer,
            config.encoder_dim,
            config.gating_dim,
        )
        self.state_encoder = make.chain(make.inputs, width, width)
        self.task_encoder = make.task_encoder(width)
        self.gating = make.chain(width, gate, gate)
        self.conditions = nn.ModuleList(make.linear(done * count**2, gate) for done in range(1, layers))
        self.logits = nn.ModuleList(
            make.linear(gate, choices, head=True) for choices in (*[count**2] * (layers - 1), count)
        )
        self.layers = make.groups(count, width, *[config.module_dim] * layers)
        self.head = make.head(config.module_dim)

    @property
    def routing_layers(self) -> Sequence[nn.Module]:
        """The gating network, up to the weights of each layer."""
        return (self.gating, *self.conditions, *self.logits)

    @property
    def output_layers(self) -> Sequence[nn.Module]:
        """The last layer."""
        return (self.head,)

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs]; soft routing has no sampled route."""
        state = relu_between(self.state_encoder, x)
        h = self.layers[0](as_rows(state.relu()))
        *between, last = self.routing_weights(state)
        for layer, weights in zip(self.layers[1:], between, strict=True):
            h = layer(mix(weights, h).relu())
        mixed = mix(last, h).relu().view(*state.shape[:3], -1)
        return Output(self.head(mixed))

    def routing_weights(self, state: Tensor) -> list[Tensor]:
        """Softmax weights for encoded states [E, batch, task, encoder_dim].

        Returns:
            [E, batch, task, target, source] for each layer: M targets between layers, one at the output.
        """
        gate = relu_between(self.gating, (self.task_encoder() * state).relu())
        weights: list[Tensor] = []
        hidden = gate.relu()
        for emit, condition in zip(self.logits, [*self.conditions, None], strict=True):
            grid = emit(hidden).unflatten(-1, (-1, self.modules_per_layer))
            weights.append(grid.softmax(-1))
            if condition is not None:
                seen = torch.cat([w.flatten(-2) for w in weights], dim=-1)
                hidden = (condition(seen) * gate).relu()
        return weights
