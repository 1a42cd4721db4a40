"""From a network's configuration to the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from d2r.config.benchmarks import ACTION_DIM, OBSERVATION_DIM
from d2r.config.networks import MatchableConfig, NetworkConfig, network_module
from d2r.errors import UserError
from d2r.networks.base import ARCHITECTURES, Network
from d2r.networks.maker import Maker
from d2r.networks.matching import TOLERANCE, widest

MOST_PARAMETERS = 250_000_000
"""Of one network. Training keeps eleven numbers for each, 11 GB: weights and two moments of the actor and of both
critics, and the critics' targets."""


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
        config = _with_matching_width(config, config.matched, ends, config.matched_tasks or num_tasks)
    build: Callable[..., Network] = architecture_of(config)
    return build(config, Maker(*ends, num_tasks, ensemble, generator))


def architecture_of(config: NetworkConfig) -> type[Network]:
    """The class of a configuration's network; its module is imported if it was not yet."""
    if config.type not in ARCHITECTURES:
        module = network_module(type(config))
        import_module(module)
        if config.type not in ARCHITECTURES:
            raise TypeError(f"{module} has no class marked @architecture({type(config).__name__})")
    return ARCHITECTURES[config.type]


def _with_matching_width(
    config: MatchableConfig, other: NetworkConfig, ends: _Ends, num_tasks: int
) -> NetworkConfig:
    """``config`` with the hidden widths at which it has as many parameters as ``other``.

    Raises:
        UserError: if no widths bring the counts close enough.
    """

    def at(hidden: int, inner: int) -> NetworkConfig:
        widths = {"hidden_dim": hidden, "inner_dim": inner, "matched": None, "matched_tasks": None}
        found: NetworkConfig = config.model_copy(update=widths)
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


def _shape(config: NetworkConfig, ends: _Ends, num_tasks: int) -> Network:
    with _ShapesOnly():
        return _build(config, ends, num_tasks, 1, torch.Generator())


def shape_actor(config: NetworkConfig, num_tasks: int) -> Network:
    """The actor of this configuration without memory for its parameters, which cannot be computed with."""
    return _shape(config, ACTOR, num_tasks)


def _count(config: NetworkConfig, ends: _Ends, num_tasks: int) -> int:
    """Learned parameters of one network."""
    return sum(parameter.numel() for parameter in _shape(config, ends, num_tasks).parameters())


class _ShapesOnly(TorchFunctionMode):
    """What is built under it has parameters of the right shapes that take no memory.

    Only the makers of parameters go to PyTorch's meta device, and what would fill them in place does nothing: all
    else that networks do while they are built would set off imports of seconds there.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in (torch.empty, torch.full, torch.zeros):
            return func(*args, **{**(kwargs or {}), "device": "meta"})
        fills = func.__name__.endswith("_") and not func.__name__.endswith("__")
        if fills and isinstance(args[0], Tensor) and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


def count_parameters(config: NetworkConfig, num_tasks: int) -> ParameterCount:
    """Count learned parameters, without memory for them."""
    return ParameterCount(_count(config, ACTOR, num_tasks), _count(config, CRITIC, num_tasks))


def check_size(config: NetworkConfig, num_tasks: int, method: str) -> None:
    """Refuse networks that would be too large to build.

    Raises:
        UserError: if the method's actor or one of its critics would have more parameters than are allowed.
    """
    count = max(count_parameters(config, num_tasks))
    if count > MOST_PARAMETERS:
        raise UserError(
            f"method '{method}': a network of {count:,} parameters on {num_tasks} tasks, where at most "
            f"{MOST_PARAMETERS:,} are allowed; choose smaller sizes"
        )
