"""From a network's configuration to the network: the one table of architectures."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from d2r.config.networks import MatchableConfig, NetworkConfig
from d2r.errors import UserError
from d2r.networks.base import Network
from d2r.networks.care import CareNetwork
from d2r.networks.film import FilmNetwork
from d2r.networks.independent import IndependentNetwork
from d2r.networks.matching import TOLERANCE, widest
from d2r.networks.mlp import MlpNetwork
from d2r.networks.mmoe import MmoeNetwork
from d2r.networks.moore import MooreNetwork
from d2r.networks.multihead import MultiHeadNetwork
from d2r.networks.paco import PacoNetwork
from d2r.networks.routing import RoutedNetwork
from d2r.networks.routing_levels import LayerRoutedNetwork, ModelRoutedNetwork
from d2r.networks.soft_modularization import SoftModularizationNetwork

OBSERVATION_DIM = 39
ACTION_DIM = 4

ARCHITECTURES: dict[str, Any] = {
    "routed": RoutedNetwork,
    "routed-layer": LayerRoutedNetwork,
    "routed-model": ModelRoutedNetwork,
    "mlp": MlpNetwork,
    "multihead": MultiHeadNetwork,
    "independent": IndependentNetwork,
    "soft-modularization": SoftModularizationNetwork,
    "care": CareNetwork,
    "paco": PacoNetwork,
    "moore": MooreNetwork,
    "mmoe": MmoeNetwork,
    "film": FilmNetwork,
}


class ParameterCount(NamedTuple):
    """Learned parameters of the actor and of one critic."""

    actor: int
    critic: int


class _Ends(NamedTuple):
    """What an actor and a critic read and write."""

    inputs: int
    outputs: int


ACTOR = _Ends(OBSERVATION_DIM, 2 * ACTION_DIM)
CRITIC = _Ends(OBSERVATION_DIM + ACTION_DIM, 1)


def build_actor(config: NetworkConfig, num_tasks: int, generator: torch.Generator) -> Network:
    """Build an actor: observation in, mean and log-std of the four actions out."""
    return _build(config, ACTOR, num_tasks, 1, generator)


def build_critics(config: NetworkConfig, num_tasks: int, generator: torch.Generator) -> Network:
    """Build the twin critics as an ensemble of two: observation and action in, one value out."""
    return _build(config, CRITIC, num_tasks, 2, generator)


def _build(
    config: NetworkConfig, ends: _Ends, num_tasks: int, ensemble: int, generator: torch.Generator
) -> Network:
    if isinstance(config, MatchableConfig) and config.matched is not None:
        config = _with_matching_width(config, config.matched, ends, num_tasks)
    network: Network = ARCHITECTURES[config.type](config, *ends, num_tasks, ensemble, generator)
    return network


def _with_matching_width(
    config: MatchableConfig, other: NetworkConfig, ends: _Ends, num_tasks: int
) -> NetworkConfig:
    """``config`` with the hidden widths at which it has as many parameters as ``other``.

    Raises:
        UserError: if no widths bring the counts close enough.
    """

    def at(hidden: int, inner: int) -> NetworkConfig:
        widths = {"hidden_dim": hidden, "inner_dim": inner, "matched": None}
        found: NetworkConfig = config.model_copy(update=widths)  # type: ignore[assignment]
        return found

    target = _count(other, ends, num_tasks)
    hidden = widest(lambda width: _count(at(width, width), ends, num_tasks), target)
    inner = hidden
    if config.num_layers >= 3:
        inner = widest(lambda width: _count(at(hidden, width), ends, num_tasks), target)
    found = at(hidden, inner)
    off = _count(found, ends, num_tasks) / target - 1
    if abs(off) > TOLERANCE:
        raise UserError(
            f"match_parameters_of: {config.match_parameters_of}: the nearest {config.type} with num_layers: "
            f"{config.num_layers} is {off:+.2%} off its {target:,} parameters, and {TOLERANCE:.0%} is the limit; "
            "use a larger width or another num_layers"
        )
    return found


def _count(config: NetworkConfig, ends: _Ends, num_tasks: int) -> int:
    """Learned parameters of one network."""
    network = _build(config, ends, num_tasks, 1, torch.Generator())
    return sum(parameter.numel() for parameter in network.parameters())


def count_parameters(config: NetworkConfig, num_tasks: int) -> ParameterCount:
    """Count learned parameters, by building both networks once.

    On PyTorch's meta device this would take no memory and, with the imports that it sets off, seconds more.
    """
    return ParameterCount(_count(config, ACTOR, num_tasks), _count(config, CRITIC, num_tasks))
