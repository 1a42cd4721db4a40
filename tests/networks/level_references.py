"""Slow form of routing at layer and model level: module after module, with two tensors a module and ``detach``.

The whole network is read through its :class:`Route`, in module numbers, as dynamic depth routing is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def routed_value(network, x: Tensor, route, restrict: bool) -> Tensor:
    """Output of an ensemble of one for a single state ``x`` along ``route`` ([N, K] sources, weights, suitable).

    A module whose sources all have weight 0 reads the encoded state.
    """

    def linear(layer, h):
        return F.linear(h, layer.weight[0], layer.bias[0])

    features = F.relu(linear(network.state_encoder[1], F.relu(linear(network.state_encoder[0], x))))
    sources, weights, suitable = route
    modules = network.config.num_modules
    chain = type(network).__name__ == "ModelRoutedNetwork"
    own: list[Tensor] = []
    blocked: list[Tensor] = []

    def read(group, branch):
        mixed = torch.zeros(network.config.module_dim, dtype=x.dtype)
        for source, weight, fine in zip(sources[group], weights[group], suitable[group], strict=True):
            use_own = not branch or not restrict or bool(fine)
            mixed = mixed + weight * (own if use_own else blocked)[int(source)]
        return mixed

    for module in range(modules):
        weight, bias = parameters_of(network, module)
        if module == 0 or not weights[module - 1].any():
            computed = F.relu(F.linear(features, weight, bias))
            own.append(computed)
            blocked.append(computed.detach())
        else:
            computed = F.relu(F.linear(read(module - 1, branch=True), weight, bias))
            shortcut = read(module - 1, branch=False) if network.config.residual else 0.0
            own.append(computed + shortcut)
            blocked.append((computed + shortcut).detach() if chain else computed.detach() + shortcut)
    return linear(network.head, read(modules - 1, branch=True))


def parameters_of(network, module: int) -> tuple[Tensor, Tensor]:
    """Weight and bias of a module, by its number."""
    if type(network).__name__ == "ModelRoutedNetwork":
        depth = network.config.num_modules // network.config.num_models
        layer, position = network.layers[module % depth], module // depth
    else:
        per_layer = network.config.num_modules // network.config.num_layers
        layer, position = network.layers[module // per_layer], module % per_layer
    return layer.weight[0, position], layer.bias[0, position]
