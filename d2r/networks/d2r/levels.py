"""The routed network at the paper's three levels: which modules there are, and how they are run along a route.

- **module level** (:class:`D2RNetwork`): a chain of modules, each of which may read all before it (``stack.py``);
- **layer level** (:class:`LayerRoutedNetwork`): every route passes all layers, and modules of a layer run side by side;
- **model level** (:class:`ModelRoutedNetwork`): separate chains side by side, of which the output reads K.

Encoders, router, choice, route replay and ResRouting are the same (``network.py``, ``choice.py``); only the candidates
differ (``candidates.py``). Where this package chose for the last two, since the official code does not contain them:

1. A :class:`Route` has all N readers at every level. The link inside a chain has weight 1; a module that reads the
   encoded state has one pseudo source, module 0, with weight 0.
2. A chain's inner links are never unsuitable, and a chain that is unsuitable for the output gets no gradient from it at
   all: like D2R's first module, it has no *routed* shortcut that could keep one. That is why the chains are not run as
   modules of D2R's stack, which keeps gradients in every shortcut.
3. With 16 modules, L = 4 and M = 4: the official defaults are not known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from d2r.config.networks import RoutedConfig, RoutedLayerConfig, RoutedModelConfig
from d2r.networks.base import architecture
from d2r.networks.blocks import as_rows, mix
from d2r.networks.d2r import route_graph
from d2r.networks.d2r.candidates import at_layer_level, at_model_level, at_module_level
from d2r.networks.d2r.choice import NO_CANDIDATE
from d2r.networks.d2r.compiled import Decided
from d2r.networks.d2r.network import RoutedNetwork
from d2r.networks.d2r.stack import run_modules
from d2r.networks.d2r.whole import Wiring
from d2r.networks.layers import HIDDEN_BIAS, run_chain, weights_and_biases, widths
from d2r.networks.maker import Maker
from d2r.networks.parts import OfTasks
from d2r.networks.routing import Deterministic, Replayed, RouteRule


@architecture(RoutedConfig)
class D2RNetwork(RoutedNetwork):
    """E copies of a D2R network, or of one of its controls.

    Three controls are our own. ``router: random`` draws routes uniformly and keeps one fixed route a task for
    evaluation. ``router: none`` runs all modules in sequence (fixed depth), the task entering as u in place of f. A
    *growing* network (``initial_modules``) hides the modules that do not exist yet from every choice: the paper's open
    question on generating modules.
    """

    config: RoutedConfig
    numbers = ("active",)

    def __init__(self, config: RoutedConfig, make: Maker):
        count, dim = config.num_modules, config.module_dim
        super().__init__(config, make, at_module_level(count))
        self.first_module = make.linear(config.encoder_dim, dim)
        self.module_weight = make.uniform(1.0 / math.sqrt(dim), count - 1, dim, dim)
        self.module_bias = nn.Parameter(torch.full((make.ensemble, count - 1, dim), HIDDEN_BIAS))
        self.head = make.head(dim)
        self.run_stack = run_modules
        self.active: Tensor
        grows = config.initial_modules is not None
        self.register_buffer("active", torch.tensor(config.initial_modules or count), persistent=grows)
        self._use_active()
        self.fixed_route: Tensor | None
        fixed = None
        if config.router == "random":
            order = torch.rand((make.ensemble, count, count, make.num_tasks), generator=make.generator)
            fixed = self.choice.top(order.masked_fill(~self.choice.exists.unsqueeze(2), NO_CANDIDATE))
        self.register_buffer("fixed_route", fixed)
        if config.initialisation == "fan-in":
            self._bound_by_inputs()

    @property
    def by_task(self) -> Mapping[str, OfTasks]:
        """Of a random router, the fixed routes."""
        return {} if self.fixed_route is None else {"fixed_route": OfTasks(3)}

    def _bound_by_inputs(self) -> None:
        """Rescale hidden weights from one over the root of their outputs to that of their inputs."""
        for name, parameter in self.named_parameters():
            if name.endswith("weight") and not name.startswith("head"):
                outputs, inputs = parameter.shape[-2:]
                parameter.data.mul_(math.sqrt(outputs / inputs))

    def prepare_to_compile(self) -> None:
        """The modules stay one call: their gradients come in bags whose sizes depend on the routes."""
        self.run_stack = torch.compiler.disable(run_modules)  # type: ignore[no-untyped-call]

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Restore parameters and, of a growing network, how many modules are in use."""
        result = super().load_state_dict(state_dict, strict, assign)
        self._use_active()
        return result

    def _use_active(self) -> None:
        """Let routes use as many modules as each seed's networks have, those of its members alike."""
        of_seeds = self.active.reshape(-1).tolist()
        each = self.ensemble // len(of_seeds)
        self.choice.use_modules([count for count in of_seeds for _ in range(each)])
        self.wiring = self._as_one()

    def _as_one(self) -> Wiring | None:
        """Not as long as modules are hidden, nor in ablations of what the router sees or how it chooses."""
        seen, config = self.config.router_input, self.config
        if self.router is None or self.task_encoder is None or seen not in ("product", "relu-product"):
            return None
        if self.in_use < config.num_modules or not self.choice.is_compiled:
            return None
        parts = (self.state_encoder, [self.task_encoder], self.router, [self.first_module])
        modules, head = [self.module_weight, self.module_bias], weights_and_biases([self.head])
        self.parts = [*(p for part in parts for p in weights_and_biases(part)), *modules, *head]
        return Wiring(
            *(widths(self.state_encoder), widths(self.router), config.module_dim, self.head.weight.shape[1]),
            *(seen == "relu-product", config.residual),
        )

    @property
    def in_use(self) -> int:
        """Modules that routes may use, of the seed that uses most."""
        return self.choice.in_use

    def modules_of(self, seed: int) -> int:
        """Modules that the routes of a seed may use."""
        return int(self.active.reshape(-1)[seed])

    def grow(self, seed: int = 0) -> bool:
        """Let the routes of a seed use one module more; false if all are in use."""
        if self.modules_of(seed) == self.config.num_modules:
            return False
        self.active.view(-1)[seed] += 1
        self._use_active()
        return True

    def without_router(self, rule: RouteRule, batch: int) -> RouteRule:
        """Fixed routes, of a random router in evaluation and of fixed depth always."""
        if not isinstance(rule, Deterministic) or self.config.router == "learned":
            return rule
        if self.fixed_route is not None:
            route = self.fixed_route
        else:
            route = self.choice.last_candidate.unsqueeze(2).expand(1, -1, 1, self.num_tasks)
        return Replayed(route.permute(0, 3, 1, 2).unsqueeze(1).expand(-1, batch, -1, -1, -1))

    def run_modules(self, state: Tensor, decided: Decided) -> Tensor:
        """Run module 1 on the encoded state, and the others along the route."""
        features = self.router_input(state) if self.config.router == "none" else state
        first = run_chain([self.first_module], features, relu_first=True, relu_last=True)
        last = self.in_use - 1
        sources, weights, suitable = decided
        return self.run_stack(
            first.flatten(1, 2),
            self.module_weight[:, :last],
            self.module_bias[:, :last],
            self._per_reader(sources),
            self._per_reader(weights),
            None if suitable is None else self._per_reader(suitable),
            self.config.residual,
        )

    def _per_reader(self, t: Tensor) -> Tensor:
        """From [ensemble, reader, K, row] to [reader in use, ensemble, row, K], as the stack wants it."""
        if self.in_use < self.config.num_modules:
            t = torch.cat([t[:, : self.in_use - 1], t[:, -1:]], 1)
        return t.permute(1, 0, 3, 2)

    def module_parameters(self) -> list[nn.Parameter]:
        """Weight and bias of module 1, and those of modules 2..N, stacked."""
        return [self.first_module.weight, self.first_module.bias, self.module_weight, self.module_bias]

    def by_module(self, gradients: Sequence[Tensor]) -> Tensor:
        """Sort gradients of :meth:`module_parameters` by module, [N, parameter]."""
        first_weight, first_bias, weight, bias = gradients
        rows = [torch.cat([first_weight.flatten(), first_bias.flatten()])]
        rows += [torch.cat([weight[:, i].flatten(), bias[:, i].flatten()]) for i in range(weight.shape[1])]
        return padded_rows(rows)


class _SideBySide(RoutedNetwork):
    """Modules that run side by side, step after step: the modules of a layer, or the next one of every chain."""

    layers: nn.ModuleList

    def place(self, module: Tensor) -> Tensor:
        """Place of modules, by their number, among those that run side by side."""
        raise TypeError(f"{type(self).__name__} does not place its modules")

    def module_number(self, step: int, place: int) -> int:
        """The module at a place of a step."""
        raise TypeError(f"{type(self).__name__} does not number its modules")

    def shares(self, decided: Decided, readers: slice, candidates: int) -> tuple[Tensor, Tensor | None]:
        """Weight of each candidate of each reader, and the part of it that comes from suitable sources.

        Both are [E, row, 1, reader, candidate], as :func:`mix` wants them; the second is none if all are suitable.
        """
        sources, weights = decided.sources[:, readers], decided.weights[:, readers]
        nothing = weights.new_zeros(*sources.shape[:2], candidates, sources.shape[-1])
        place = self.place(sources)

        def dense(t: Tensor) -> Tensor:
            return nothing.scatter(2, place, t).permute(0, 3, 1, 2).unsqueeze(2)

        if decided.suitable is None:
            return dense(weights), None
        return dense(weights), dense(weights * decided.suitable[:, readers])

    def module_parameters(self) -> list[nn.Parameter]:
        """Weight and bias of each step."""
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


@architecture(RoutedLayerConfig)
class LayerRoutedNetwork(_SideBySide):
    """E copies of L layers of e modules, each reading K modules of the layer before."""

    config: RoutedLayerConfig

    def __init__(self, config: RoutedLayerConfig, make: Maker):
        super().__init__(config, make, at_layer_level(config.num_modules, config.num_layers))
        self.size = config.num_modules // config.num_layers
        self.head = make.head(config.module_dim)
        widths = [config.module_dim] * config.num_layers
        self.layers = make.groups(self.size, config.encoder_dim, *widths)

    def place(self, module: Tensor) -> Tensor:
        """Modules are numbered layer by layer."""
        return module % self.size

    def module_number(self, step: int, place: int) -> int:
        """Modules are numbered layer by layer."""
        return step * self.size + place

    def run_modules(self, state: Tensor, decided: Decided) -> Tensor:
        """Run layer after layer; ``own`` gets every gradient, ``blocked`` that of its shortcut only."""
        share, suitable = self.shares(decided, slice(self.size - 1, None), self.size)
        own = self.layers[0](as_rows(state.relu()), relu=True)
        blocked = own.detach()
        for layer, start in zip(self.layers[1:], range(0, share.shape[3], self.size), strict=False):
            into = slice(start, start + self.size)
            shortcut = mix(share[..., into, :], own)
            branch = shortcut
            if suitable is not None:
                branch = mix_suitable(share[..., into, :], suitable[..., into, :], own, blocked)
            computed = layer(branch, relu=True)
            own = computed + shortcut if self.config.residual else computed
            blocked = computed.detach() + shortcut if self.config.residual else computed.detach()
        if suitable is None:
            return mix(share[..., -1:, :], own)
        return mix_suitable(share[..., -1:, :], suitable[..., -1:, :], own, blocked)


@architecture(RoutedModelConfig)
class ModelRoutedNetwork(_SideBySide):
    """E copies of M chains of modules, of which the output reads K."""

    config: RoutedModelConfig

    def __init__(self, config: RoutedModelConfig, make: Maker):
        super().__init__(config, make, at_model_level(config.num_modules, config.num_models))
        self.depth = config.num_modules // config.num_models
        self.head = make.head(config.module_dim)
        self.layers = make.groups(config.num_models, config.encoder_dim, *[config.module_dim] * self.depth)

    def place(self, module: Tensor) -> Tensor:
        """Modules are numbered chain by chain."""
        return module.div(self.depth, rounding_mode="floor")

    def module_number(self, step: int, place: int) -> int:
        """Modules are numbered chain by chain."""
        return place * self.depth + step

    def run_modules(self, state: Tensor, decided: Decided) -> Tensor:
        """Run all chains side by side and mix their ends."""
        share, suitable = self.shares(decided, slice(-1, None), self.config.num_models)
        h = self.layers[0](as_rows(state.relu()), relu=True)
        for layer in self.layers[1:]:
            computed = layer(h, relu=True)
            h = computed + h if self.config.residual else computed
        return mix(share, h) if suitable is None else mix_suitable(share, suitable, h, h.detach())

    def multiply_adds(self, edge: Tensor) -> Tensor:
        """As for D2R; only the output mixes, since the modules of a chain read one another directly."""
        module = torch.arange(self.config.num_modules, device=edge.device)
        inside = route_graph.used_modules(edge)[..., module % self.depth != 0]
        return super().multiply_adds(edge) - inside.sum(-1) * self.top_k * self.config.module_dim


def mix_suitable(share: Tensor, suitable: Tensor, own: Tensor, blocked: Tensor) -> Tensor:
    """Mix ``own`` with the part of the weights that is suitable, and ``blocked``, of equal value, with the rest."""
    return mix(suitable, own) + mix(share - suitable, blocked)


def padded_rows(rows: Sequence[Tensor]) -> Tensor:
    """Stack vectors of different length, the shorter ones padded with zeros."""
    return nn.utils.rnn.pad_sequence([row.flatten() for row in rows], batch_first=True)
