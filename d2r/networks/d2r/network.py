"""The routed network of actor and critics, as it trains: ``plain.py`` says what it computes, this computes it fast.

The three levels of routing that the paper compares are this network with three sets of candidates
(``candidates.py``); how the modules of each are run is in ``levels.py``.

    f = state encoder(s)      e = task encoder(z)      u = e * f        what the router sees
    l = router(u)             one logit for each candidate of each reader
    route = choice(l)         K sources of each reader, their weights, which of them are suitable (``choice.py``)
    output = head(modules(ReLU(f), route))

Where this follows the official code (DarkDawn233/D2R_MTRL, ``depth_route_net.py``) and the paper prints
something else or nothing:

1. One router trunk with N heads in one matrix, not N subnetworks.
2. Weights are a softmax over the K chosen logits (``rescale_prob``), not the full softmax; the temperature
   changes which sources are picked, never their weights.
3. A source is unsuitable when its full softmax probability is at most 1/(c+1), c being the number of
   candidates (``resrouting: threshold``). The paper's words, "not in the target policy's current top K",
   are ``resrouting: target``.
4. Modules 2..N have a shortcut (``residual``), and no ReLU follows u.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from d2r.config.networks import RoutedConfig, RoutedLevelConfig
from d2r.kernel.library import serving
from d2r.networks.base import Network, Output
from d2r.networks.d2r import route_graph, whole
from d2r.networks.d2r.candidates import Readers
from d2r.networks.d2r.choice import RouteChoice
from d2r.networks.d2r.compiled import Decided
from d2r.networks.layers import StackedLinear, at_least_float32, run_chain
from d2r.networks.maker import Maker
from d2r.networks.routing import DETERMINISTIC, Route, RouteRule


class RoutedNetwork(Network):
    """Encoders, router and choice; a subclass has the modules and the head.

    Args:
        config: sizes and switches.
        readers: who may read whom.
    """

    head: StackedLinear
    wiring: whole.Wiring | None = None
    """If the compiled library has all parts of this network as one function, what it has to know of them."""
    parts: Sequence[Tensor] = ()
    """And their parameters, in its order."""

    def __init__(self, config: RoutedConfig | RoutedLevelConfig, make: Maker, readers: Readers):
        super().__init__(make)
        width = config.encoder_dim
        self.config: RoutedConfig | RoutedLevelConfig = config
        top_k = 1 if config.router == "none" else config.top_k
        self.choice = RouteChoice(readers, top_k, config.renormalise, config.resrouting)
        self.state_encoder = make.chain(make.inputs, width, width)
        self.task_encoder = None if config.router_input == "state" else make.task_encoder(width)
        self.router: nn.ModuleList | None = None
        if config.router == "learned":
            seen = 2 * width if config.router_input == "concat" else width
            self.router = make.chain(seen, config.router_dim, config.router_dim, self.choice.num_logits)

    @property
    def top_k(self) -> int:
        """Sources of each reader."""
        return self.choice.top_k

    @property
    def num_logits(self) -> int:
        """Routing logits of a transition; 0 for fixed depth, where there is nothing to draw."""
        return 0 if self.config.router == "none" else self.choice.num_logits

    @property
    def route_shape(self) -> tuple[int, int] | None:
        """(N, K), or none where there is one route only."""
        return self.config.route_shape

    @property
    def in_use(self) -> int:
        """Modules that routes may use."""
        return self.config.num_modules

    @property
    def routing_layers(self) -> Sequence[nn.Module]:
        """The router; empty where none is learned."""
        return () if self.router is None else tuple(self.router)

    @property
    def output_layers(self) -> Sequence[nn.Module]:
        """The last layer, which reads the mix of modules."""
        return (self.head,)

    @property
    def restricts(self) -> bool:
        """Whether ResRouting blocks gradients in training."""
        return self.choice.restricts

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Route every row of ``x`` ([E or 1, batch, task, inputs]) by ``rule``; see :class:`Network`."""
        batch, tasks = x.shape[1:3]
        rule = self.without_router(rule, batch)
        restrict = self.training and self.restricts and torch.is_grad_enabled()
        kernel = serving(x, self.head.weight)
        if kernel is not None and self.wiring is not None:
            question = self.choice.question(rule, restrict)
            value, decided, rows = whole.run(kernel, self.wiring, question, x, self.parts)
            logits = rows.transpose(1, 2)
        else:
            state = run_chain(self.state_encoder, x)
            logits = self.routing_logits(state)
            decided = self.choice.decide(logits, rule, batch, restrict)
            value = self.head(self.run_modules(state, decided).view(len(state), batch, tasks, -1))

        def per_row(t: Tensor) -> Tensor:
            return t.view(*t.shape[:3], batch, tasks).permute(0, 3, 4, 1, 2)

        route = Route(
            lambda: per_row(decided.sources),
            lambda: per_row(decided.weights),
            lambda: per_row(self.choice.suitable(logits.detach(), decided.sources)),
            lambda: per_row(self.choice.per_reader(logits)),
        )
        return Output(value, route)

    def run_modules(self, state: Tensor, decided: Decided) -> Tensor:
        """Run the modules along a route.

        Args:
            state: [E, batch, task, encoder_dim], the encoded state.

        Returns:
            [E, row, module_dim], or more axes, the mix that the head reads.
        """
        raise TypeError(f"{type(self).__name__} does not define run_modules")

    def module_parameters(self) -> list[nn.Parameter]:
        """Parameters of the modules."""
        raise TypeError(f"{type(self).__name__} does not name its modules' parameters")

    def by_module(self, gradients: Sequence[Tensor]) -> Tensor:
        """Sort gradients of :meth:`module_parameters` by module: [module, parameter], short ones padded with zeros."""
        raise TypeError(f"{type(self).__name__} does not sort gradients by module")

    def without_router(self, rule: RouteRule, batch: int) -> RouteRule:
        """The rule to go by where no router was learned; the rule itself where one is."""
        return rule

    def router_input(self, state: Tensor) -> Tensor:
        """What the router sees: u = e * f (the paper's state routing), or an ablation of it."""
        if self.task_encoder is None:
            return state
        task: Tensor = self.task_encoder()
        match self.config.router_input:
            case "product":
                return task * state
            case "relu-product":
                return (task * state).relu()
            case "concat":
                return torch.cat([task.expand_as(state), state], dim=-1)
            case _:
                return task.expand_as(state)

    def routing_logits(self, state: Tensor) -> Tensor:
        """Logits [ensemble, logit, row].

        So laid out, PyTorch reduces candidates over whole vectors; the compiled library takes rows as they are. Logits
        are in float32 at least, whatever the products before them are in: in fewer bits many would be equal.
        """
        if self.router is None:
            ensemble, batch, tasks, _ = state.shape
            return state.new_zeros(ensemble, self.choice.num_logits, batch * tasks)
        if self.choice.is_compiled and serving(state) is not None:
            rows = self._run_router(self.router, state)
            return rows.flatten(1, 2).transpose(1, 2)
        hidden = self._run_router(self.router[:-1], state, relu_last=True)
        last = self.router[-1]
        assert isinstance(last, StackedLinear)
        return at_least_float32(last.transposed(hidden))

    def _run_router(self, layers: Iterable[nn.Module], state: Tensor, relu_last: bool = False) -> Tensor:
        """What ``layers`` of the router make of an encoded state."""
        if self.task_encoder is not None and self.config.router_input in ("product", "relu-product"):
            relu_first = self.config.router_input == "relu-product"
            return run_chain(layers, state, relu_last, relu_first, scale=self.task_encoder())
        return run_chain(layers, self.router_input(state), relu_last)

    def multiply_adds(self, edge: Tensor) -> Tensor:
        """Multiply-adds of a decision with unused modules skipped, for ``edge`` [..., group, module]."""
        linear = [*self.state_encoder, *(self.router or []), self.head]
        outside = sum(layer.weight[0].numel() for layer in linear)
        return route_graph.multiply_adds(
            edge, outside, self.config.encoder_dim, self.config.module_dim, self.top_k
        )
