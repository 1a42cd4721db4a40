"""Seeds side by side: whose the members of a cohort's stacked networks are, and how they are put together and apart.

The actor of S seeds is an ensemble of S, their twin critics one of 2S, the twins of a seed next to each other. So every
tensor that a network learns or keeps has S equal parts along its first axis, one a seed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from d2r.networks.base import Network


def side_by_side(networks: Sequence[Network]) -> Network:
    """One network whose members are those of ``networks``, in order; of a single one that network itself."""
    if len(networks) == 1:
        return networks[0]
    stacked = copy.deepcopy(networks[0])
    stacked.ensemble = sum(network.ensemble for network in networks)
    parts = [network.state_dict() for network in networks]
    for name, tensor in stacked.state_dict(keep_vars=True).items():
        join = torch.stack if name in stacked.numbers else torch.cat
        tensor.data = join([part[name] for part in parts])
    stacked.load_state_dict(stacked.state_dict())
    return stacked


def alone(network: Network, place: int, seeds: int) -> Network:
    """A copy of one seed's network."""
    copied = copy.deepcopy(network)
    copied.ensemble = network.ensemble // seeds
    for name, tensor in copied.state_dict(keep_vars=True).items():
        tensor.data = _part(copied, name, tensor.data, place, seeds).clone()
    copied.load_state_dict(copied.state_dict())
    return copied


def state_of(network: Network, place: int, seeds: int) -> dict[str, Tensor]:
    """A copy of what the members of one seed hold: the state of its network alone."""
    return {
        name: _part(network, name, tensor, place, seeds).detach().clone()
        for name, tensor in network.state_dict().items()
    }


def load_state_of(network: Network, state: Mapping[str, Tensor], place: int, seeds: int) -> None:
    """Put a seed's network, as :func:`state_of` returned it, in its place."""
    whole = network.state_dict()
    with torch.no_grad():
        for name, tensor in state.items():
            _part(network, name, whole[name], place, seeds).copy_(tensor)
    network.load_state_dict(whole)


def _part(network: Network, name: str, tensor: Tensor, place: int, seeds: int) -> Tensor:
    """What of a tensor is one seed's; a view."""
    if name in network.numbers:
        return tensor if seeds == 1 else tensor[place]
    each = len(tensor) // seeds
    return tensor[place * each : (place + 1) * each]


def for_members(x: Tensor, ensemble: int) -> Tensor:
    """Repeat [S, ...] for the members of each seed: [ensemble, ...], or [1, ...] for a seed alone."""
    return x if len(x) in (1, ensemble) else x.repeat_interleave(ensemble // len(x), 0)
