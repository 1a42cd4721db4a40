"""Routing at layer level and at model level: what dynamic depth routing is compared with (He et al., arXiv 2312.14472).

Both are D2R with the same encoders, router trunk, modules, top K, route replay and ResRouting; only who may
read whom differs.

- **layer level**: L layers of e = N/L modules; a module reads K modules of the layer before it, the output
  K modules of the last layer. Every route passes all L layers. e ((L-1) e + 1) logits.
- **model level**: M separate chains of N/M modules; the output reads the ends of K chains. M logits.

The numbers of logits are those of the official code (``train.py``: ``layerroute`` and ``modelroute``); it
does not contain the two networks, so what follows is this package's reading:

1. Modules are numbered layer by layer, or chain by chain, and a :class:`Route` has the form it has in
   ``routing.py``: group g feeds module g+1, the last group the output, and sources are module numbers.
   Groups that have no choice are in it too: the link inside a chain has weight 1, and a module that reads
   the encoded state has one pseudo source, module 0, with weight 0.
2. ResRouting is the module-level rule with c = e, or c = M, candidates. A chain's inner links are never
   unsuitable, and a chain that is unsuitable for the output gets no gradient from it at all: like D2R's
   first module, it has no routed shortcut that could keep one.
3. With 16 modules, L = 4 and M = 4: the official defaults are not known.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from d2r.config.networks import RoutedLayerConfig, RoutedLevelConfig, RoutedModelConfig
from d2r.networks import route_graph
from d2r.networks.base import (
    DETERMINISTIC,
    Deterministic,
    ModularNetwork,
    Output,
    Replayed,
    Route,
    RouteRule,
    Sampled,
    architecture,
    at_least_float32,
    padded_rows,
)
from d2r.networks.blocks import as_rows, group_chain, linear_chain, mix, relu_between
from d2r.networks.layers import StackedLinear, TaskLinear


class LevelRoutedNetwork(ModularNetwork):
    """Encoders, router and head; a subclass holds the modules.

    Args:
        choices: number R of groups with something to choose; they are the last of the N groups of a route.
        candidates: number c of candidates in each of them.
        first_candidate: [R], module number of each one's first candidate.
        stride: step in module numbers from one candidate to the next.
        given: [N - R, 2], source and weight of each group without a choice.
    """

    def __init__(
        self,
        config: RoutedLevelConfig,
        inputs: int,
        outputs: int,
        num_tasks: int,
        ensemble: int,
        generator: torch.Generator,
        choices: int,
        candidates: int,
        first_candidate: Tensor,
        stride: int,
        given: Tensor,
    ):
        super().__init__()
        self.config, self.num_tasks, self.ensemble = config, num_tasks, ensemble
        self.choices, self.candidates, self.stride = choices, candidates, stride
        self.top_k = candidates if config.top_k is None else min(config.top_k, candidates)
        width, router = config.encoder_dim, config.router_dim
        self.state_encoder = linear_chain(ensemble, (inputs, width, width), generator)
        self.task_encoder = TaskLinear(ensemble, num_tasks, width, generator)
        self.router = linear_chain(ensemble, (width, router, router, self.num_logits), generator)
        self.head = StackedLinear(ensemble, config.module_dim, outputs, generator, head=True)
        self.layers: nn.ModuleList
        self.first_candidate: Tensor
        self.given: Tensor
        self.register_buffer("first_candidate", first_candidate.unsqueeze(1), persistent=False)
        self.register_buffer("given", given, persistent=False)

    @property
    def num_logits(self) -> int:
        """R * c."""
        return self.choices * self.candidates

    @property
    def route_shape(self) -> tuple[int, int] | None:
        """(N, K), or none for soft routing, where every candidate is always taken."""
        return self.config.route_shape

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Route every row of ``x`` ([E or 1, batch, task, inputs]) by ``rule``; see :class:`Network`."""
        state = relu_between(self.state_encoder, x)
        flat = at_least_float32(relu_between(self.router, self.task_encoder() * state))
        logits = flat.view(*flat.shape[:-1], self.choices, self.candidates)
        chosen = self.choose(logits, rule)
        weights = logits.gather(-1, chosen).softmax(-1)
        suitable = self.suitable(logits, chosen)
        spread = torch.zeros_like(logits).scatter(-1, chosen, weights)
        restrict = self.training and self.restricts and torch.is_grad_enabled()
        allowed = (
            torch.zeros_like(logits).scatter(-1, chosen, suitable.to(logits.dtype)) if restrict else None
        )
        mixed = self.run(as_rows(state.relu()), spread, allowed)
        value = self.head(mixed.view(*state.shape[:3], -1))
        return Output(value, self.as_route(chosen, weights, suitable, logits))

    def run(self, features: Tensor, weights: Tensor, allowed: Tensor | None) -> Tensor:
        """Run the modules and mix their outputs.

        Args:
            features: [E, 1, row, encoder_dim].
            weights: [E, batch, task, R, c], zero where a candidate is not taken.
            allowed: the same shape, 1 where a taken candidate may be optimised; none if all may.

        Returns:
            [E, 1, row, module_dim].
        """
        raise TypeError(f"{type(self).__name__} does not define run")

    def choose(self, logits: Tensor, rule: RouteRule) -> Tensor:
        """Pick K candidates for each choice, [E, batch, task, R, K], counted from the choice's first candidate."""
        match rule:
            case Replayed(sources):
                replayed = sources[..., -self.choices :, :].to(torch.long) - self.first_candidate
                return (replayed // self.stride).expand(logits.shape[0], -1, -1, -1, -1)
            case Sampled(temperature, gumbel):
                return self.top(
                    logits / temperature.view(-1, 1, logits.shape[2], 1, 1) + gumbel.reshape_as(logits)
                )
            case Deterministic():
                return self.top(logits)

    def top(self, scores: Tensor) -> Tensor:
        """Indices of the K largest scores of each choice."""
        return scores.topk(self.top_k, dim=-1).indices

    def suitable(self, logits: Tensor, chosen: Tensor) -> Tensor:
        """Which chosen candidates ResRouting lets be optimised, same shape as ``chosen``."""
        if self.config.resrouting == "target":
            return (chosen.unsqueeze(-1) == self.top(logits).unsqueeze(-2)).any(-1)
        return logits.softmax(-1).gather(-1, chosen) > 1.0 / (self.candidates + 1)

    @property
    def restricts(self) -> bool:
        """Whether ResRouting blocks gradients in training."""
        return self.config.resrouting != "off"

    def module_parameters(self) -> list[nn.Parameter]:
        """Weight and bias of each step of the modules' batched computation."""
        return [
            parameter
            for layer in self.layers
            for _, parameter in sorted(layer.named_parameters(), reverse=True)
        ]

    def by_module(self, gradients: Sequence[Tensor]) -> Tensor:
        """Sort gradients of :meth:`module_parameters` by module, [N, parameter]."""
        rows = {
            self.module_number(step, place): torch.cat([weight[:, place].flatten(), bias[:, place].flatten()])
            for step, (weight, bias) in enumerate(zip(gradients[::2], gradients[1::2], strict=True))
            for place in range(weight.shape[1])
        }
        return padded_rows([rows[module] for module in sorted(rows)])

    def module_number(self, step: int, place: int) -> int:
        """Number of the module that is computed at ``place`` of ``step`` of the batched computation."""
        raise TypeError(f"{type(self).__name__} does not number its modules")

    def multiply_adds(self, edge: Tensor) -> Tensor:
        """Multiply-adds of a decision with unused modules skipped, for ``edge`` [..., group, module]."""
        linear = [*self.state_encoder, *self.router, self.head]
        outside = sum(layer.weight[0].numel() for layer in linear)
        return route_graph.multiply_adds(
            edge, outside, self.config.encoder_dim, self.config.module_dim, self.top_k
        )

    def as_route(self, chosen: Tensor, weights: Tensor, suitable: Tensor, logits: Tensor) -> Route:
        """The route in module numbers over all N groups (deviation 1)."""
        modules, lead = self.config.num_modules, logits.shape[:3]
        source, weight = self.given.unbind(1)

        def with_given(of_given: Tensor, of_choices: Tensor) -> Tensor:
            return torch.cat([of_given.to(of_choices).expand(*lead, -1, -1), of_choices], dim=-2)

        def repeated(column: Tensor) -> Tensor:
            return column.unsqueeze(1).expand(-1, self.top_k)

        first_only = torch.zeros(len(source), self.top_k, device=weight.device)
        first_only[:, 0] = weight
        position = self.first_candidate + self.stride * torch.arange(self.candidates, device=logits.device)
        scores = logits.new_full((*lead, self.choices, modules), float("-inf"))
        scores = scores.scatter(-1, position.expand_as(logits), logits)
        only_given = torch.zeros(len(source), modules, device=weight.device).masked_fill(
            torch.arange(modules, device=weight.device) != source.unsqueeze(1), float("-inf")
        )
        return Route(
            with_given(repeated(source), self.first_candidate + self.stride * chosen),
            with_given(first_only, weights),
            with_given(torch.ones_like(first_only), suitable),
            with_given(only_given, scores),
        )


@architecture(RoutedLayerConfig)
class LayerRoutedNetwork(LevelRoutedNetwork):
    """E copies of L layers of e modules, each reading K modules of the layer before."""

    def __init__(
        self,
        config: RoutedLayerConfig,
        inputs: int,
        outputs: int,
        num_tasks: int,
        ensemble: int,
        generator: torch.Generator,
    ):
        per_layer = config.num_modules // config.num_layers
        choices = (config.num_layers - 1) * per_layer + 1
        first = torch.arange(choices) // per_layer * per_layer
        given = torch.zeros(per_layer - 1, 2)
        super().__init__(
            config, inputs, outputs, num_tasks, ensemble, generator, choices, per_layer, first, 1, given
        )
        sizes = (config.encoder_dim, *[config.module_dim] * config.num_layers)
        self.layers = group_chain(ensemble, per_layer, sizes, generator)

    def module_number(self, step: int, place: int) -> int:
        """Modules are numbered layer by layer."""
        return step * self.candidates + place

    def run(self, features: Tensor, weights: Tensor, allowed: Tensor | None) -> Tensor:
        """Run layer after layer; ``own`` gets every gradient, ``blocked`` that of its shortcut only."""
        own = self.layers[0](features, relu=True)
        blocked = own.detach()
        per_layer = self.candidates
        for layer, start in zip(self.layers[1:], range(0, self.choices, per_layer), strict=False):
            into = slice(start, start + per_layer)
            share = weights[..., into, :]
            shortcut = mix(share, own)
            branch = shortcut
            if allowed is not None:
                branch = mix_suitable(share, allowed[..., into, :], own, blocked)
            computed = layer(branch, relu=True)
            own = computed + shortcut if self.config.residual else computed
            blocked = computed.detach() + shortcut if self.config.residual else computed.detach()
        if allowed is None:
            return mix(weights[..., -1:, :], own)
        return mix_suitable(weights[..., -1:, :], allowed[..., -1:, :], own, blocked)


@architecture(RoutedModelConfig)
class ModelRoutedNetwork(LevelRoutedNetwork):
    """E copies of M chains of modules, of which the output reads K."""

    def __init__(
        self,
        config: RoutedModelConfig,
        inputs: int,
        outputs: int,
        num_tasks: int,
        ensemble: int,
        generator: torch.Generator,
    ):
        models = config.num_models
        depth = config.num_modules // models
        module = torch.arange(1, config.num_modules)
        inside = module % depth != 0
        given = torch.stack([torch.where(inside, module - 1, 0), inside.long()], dim=1).float()
        super().__init__(
            config,
            inputs,
            outputs,
            num_tasks,
            ensemble,
            generator,
            choices=1,
            candidates=models,
            first_candidate=torch.tensor([depth - 1]),
            stride=depth,
            given=given,
        )
        sizes = (config.encoder_dim, *[config.module_dim] * depth)
        self.layers = group_chain(ensemble, models, sizes, generator)

    def module_number(self, step: int, place: int) -> int:
        """Modules are numbered chain by chain."""
        return place * self.stride + step

    def multiply_adds(self, edge: Tensor) -> Tensor:
        """As for D2R; only the output mixes, since the modules of a chain read one another directly."""
        module = torch.arange(self.config.num_modules, device=edge.device)
        inside = route_graph.used_modules(edge)[..., module % self.stride != 0]
        return super().multiply_adds(edge) - inside.sum(-1) * self.top_k * self.config.module_dim

    def run(self, features: Tensor, weights: Tensor, allowed: Tensor | None) -> Tensor:
        """Run all chains side by side and mix their ends."""
        h = self.layers[0](features, relu=True)
        for layer in self.layers[1:]:
            computed = layer(h, relu=True)
            h = computed + h if self.config.residual else computed
        return mix(weights, h) if allowed is None else mix_suitable(weights, allowed, h, h.detach())


def mix_suitable(weights: Tensor, allowed: Tensor, own: Tensor, blocked: Tensor) -> Tensor:
    """Mix ``own`` where a source is allowed and ``blocked``, of equal value, where it is not."""
    return mix(weights * allowed, own) + mix(weights * (1 - allowed), blocked)
