"""From a network's configuration to the network: the one table of architectures."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from d2r.config.networks import NetworkConfig
from d2r.networks.base import Network
from d2r.networks.mlp import MlpNetwork
from d2r.networks.routing import RoutedNetwork

OBSERVATION_DIM = 39
ACTION_DIM = 4

ARCHITECTURES: dict[str, Any] = {
    "routed": RoutedNetwork,
    "mlp": MlpNetwork,
}


class ParameterCount(NamedTuple):
    """Learned parameters of the actor and of one critic."""

    actor: int
    critic: int


def build_actor(config: NetworkConfig, num_tasks: int, generator: torch.Generator) -> Network:
    """Build an actor: observation in, mean and log-std of the four actions out."""
    return _build(config, OBSERVATION_DIM, 2 * ACTION_DIM, num_tasks, 1, generator)


def build_critics(config: NetworkConfig, num_tasks: int, generator: torch.Generator) -> Network:
    """Build the twin critics as an ensemble of two: observation and action in, one value out."""
    return _build(config, OBSERVATION_DIM + ACTION_DIM, 1, num_tasks, 2, generator)


def _build(
    config: NetworkConfig, inputs: int, outputs: int, num_tasks: int, ensemble: int, generator: torch.Generator
) -> Network:
    network: Network = ARCHITECTURES[config.type](config, inputs, outputs, num_tasks, ensemble, generator)
    return network


def count_parameters(config: NetworkConfig, num_tasks: int) -> ParameterCount:
    """Count learned parameters without drawing their values."""
    generator = torch.Generator()
    with torch.device("meta"):
        actor = _build(config, OBSERVATION_DIM, 2 * ACTION_DIM, num_tasks, 1, generator)
        critic = _build(config, OBSERVATION_DIM + ACTION_DIM, 1, num_tasks, 1, generator)
    return ParameterCount(*(sum(p.numel() for p in network.parameters()) for network in (actor, critic)))
