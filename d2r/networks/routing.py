"""Dynamic depth routing (He et al., AAAI 2024, arXiv 2312.14472): the D2R network of actor and critics.

A *base module network* of N small modules stands in a fixed topological order. A *routing network* looks at
the state and the task and gives, for every module, a weight to each module before it; only the K best (or K
sampled ones) are kept. Modules that nothing reads are skipped, so easy tasks can take short paths and hard
tasks long ones.

    f = state encoder(s)            e = task encoder(z)            u = e * f        (what the router sees)
    l = router(u)                   N(N+1)/2 logits in groups of 1, 2, ..., N
    m_1 = ReLU(W_1 ReLU(f) + b_1)   m_2, ..., m_N and the output as in ``module_stack.py``

Group g (of size g) holds the logits of module g+1 over modules 1..g; the last group those of the output
over all N modules.

Where this follows the official code (DarkDawn233/D2R_MTRL, ``depth_route_net.py``) and the paper prints
something else or nothing:

1. One router trunk with N heads in one matrix, not N subnetworks.
2. Weights are a softmax over the K chosen logits (``rescale_prob``), not the full softmax; the temperature
   changes which sources are picked, never their weights.
3. A source is unsuitable when its full softmax probability is at most 1/(c+1), c being the number of
   candidates (``resrouting: threshold``). The paper's words, "not in the target policy's current top K",
   are ``resrouting: target``.
4. Modules 2..N have a shortcut (``residual``), and no ReLU follows u.

Three controls of our own live here too. ``router: random`` draws routes uniformly and keeps one fixed route
a task for evaluation; ``router: none`` runs all modules in sequence (fixed depth), the task entering as u
in place of f; a *growing* network (``initial_modules``) hides the modules that do not exist yet from every
choice, the paper's open question on generating modules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from d2r.config.networks import RoutedConfig
from d2r.kernel.library import serving
from d2r.networks import compiled, route_graph
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
from d2r.networks.compiled import Decided, Question
from d2r.networks.layers import HIDDEN_BIAS, StackedLinear, TaskLinear, run_chain, uniform
from d2r.networks.module_stack import run_modules

NO_CANDIDATE = float("-inf")


@architecture(RoutedConfig)
class RoutedNetwork(ModularNetwork):
    """E copies of a D2R network.

    Args:
        config: sizes and switches.
        inputs: width of the input (39 for the actor; 43, observation and action, for a critic).
        outputs: width of the output (8 for the actor: mean and log-std; 1 for a critic).
    """

    def __init__(
        self,
        config: RoutedConfig,
        inputs: int,
        outputs: int,
        num_tasks: int,
        ensemble: int,
        generator: torch.Generator,
    ):
        super().__init__()
        self.config, self.num_tasks, self.ensemble = config, num_tasks, ensemble
        count, dim, width = config.num_modules, config.module_dim, config.encoder_dim
        self.top_k = count if config.top_k is None else min(config.top_k, count)
        if config.router == "none":
            self.top_k = 1

        self.state_encoder = nn.ModuleList(
            [
                StackedLinear(ensemble, inputs, width, generator),
                StackedLinear(ensemble, width, width, generator),
            ]
        )
        self.task_encoder = (
            None if config.router_input == "state" else TaskLinear(ensemble, num_tasks, width, generator)
        )
        self.router: nn.ModuleList | None = None
        if config.router == "learned":
            seen = 2 * width if config.router_input == "concat" else width
            shape = (seen, config.router_dim, config.router_dim, self.num_logits)
            self.router = nn.ModuleList(
                StackedLinear(ensemble, a, b, generator) for a, b in zip(shape, shape[1:], strict=False)
            )
        self.first_module = StackedLinear(ensemble, width, dim, generator)
        self.module_weight = uniform((ensemble, count - 1, dim, dim), 1.0 / math.sqrt(dim), generator)
        self.module_bias = nn.Parameter(torch.full((ensemble, count - 1, dim), HIDDEN_BIAS))
        self.head = StackedLinear(ensemble, dim, outputs, generator, head=True)
        self.run_modules = run_modules

        position, group = torch.arange(count), torch.arange(count).unsqueeze(1)
        self.first_logit: Tensor
        self.logit_index: Tensor
        self.last_candidate: Tensor
        self.exists: Tensor
        self.in_group: Tensor
        self.logit_or_nothing: Tensor
        first_logit = group * (group + 1) // 2
        in_logits = first_logit + torch.minimum(position, group)
        self.register_buffer("first_logit", first_logit, persistent=False)
        self.register_buffer("logit_index", in_logits.flatten(), persistent=False)
        for name in ("last_candidate", "exists", "in_group", "logit_or_nothing"):
            self.register_buffer(name, None, persistent=False)
        grows = config.initial_modules is not None
        self.active: Tensor
        self.register_buffer("active", torch.tensor(config.initial_modules or count), persistent=grows)
        self._use_modules(config.initial_modules or count)
        self.fixed_route: Tensor | None
        fixed = None
        if config.router == "random":
            order = torch.rand((ensemble, count, count, num_tasks), generator=generator)
            fixed = self.top(order.masked_fill(~self.exists.unsqueeze(2), NO_CANDIDATE))
        self.register_buffer("fixed_route", fixed)
        if config.initialisation == "fan-in":
            self._bound_by_inputs()

    def prepare_to_compile(self) -> None:
        """The modules stay one call: their gradients come in bags whose sizes depend on the routes."""
        self.run_modules = torch.compiler.disable(run_modules)  # type: ignore[no-untyped-call]

    def _bound_by_inputs(self) -> None:
        """Rescale hidden weights from one over the root of their outputs to that of their inputs."""
        for name, parameter in self.named_parameters():
            if name.endswith("weight") and not name.startswith("head"):
                outputs, inputs = parameter.shape[-2:]
                parameter.data.mul_(math.sqrt(outputs / inputs))

    @property
    def num_candidates(self) -> int:
        """N(N+1)/2 pairs of a target and a module before it."""
        return self.config.num_modules * (self.config.num_modules + 1) // 2

    @property
    def num_logits(self) -> int:
        """N(N+1)/2; 0 for fixed depth, where there is nothing to draw."""
        return 0 if self.config.router == "none" else self.num_candidates

    @property
    def route_shape(self) -> tuple[int, int] | None:
        """(N, K), or none where there is one route only."""
        return self.config.route_shape

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Restore parameters and, of a growing network, how many modules are in use."""
        result = super().load_state_dict(state_dict, strict, assign)
        self._use_modules(int(self.active))
        return result

    def modules_of(self, member: int) -> int:
        """Modules in use."""
        del member
        return self.in_use

    def grow(self, members: Iterable[int] = ()) -> bool:
        """Let routes use one module more; false if all are in use."""
        del members
        if self.in_use == self.config.num_modules:
            return False
        self.active += 1
        self._use_modules(self.in_use + 1)
        return True

    def _use_modules(self, count: int) -> None:
        """Let each group choose among the modules that stand before its target and are in use already."""
        self.in_use = count
        position = torch.arange(self.config.num_modules, device=self.logit_index.device)
        self.last_candidate = position.clamp(max=self.in_use - 1).unsqueeze(1)
        self.exists = position <= self.last_candidate
        self.logit_or_nothing = torch.where(
            self.exists, self.first_logit + position, self.num_candidates
        ).flatten()
        self.in_group = position[: self.top_k] <= self.last_candidate

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Route every row of ``x`` ([E or 1, batch, task, inputs]) by ``rule``; see :class:`Network`."""
        state = run_chain(self.state_encoder, x)
        ensemble, batch, tasks, _ = state.shape
        logits = self.routing_logits(state)
        restrict = self.training and self.restricts and torch.is_grad_enabled()
        sources, weights, suitable = self.decide(logits, rule, batch, restrict)

        features = self.router_input(state) if self.config.router == "none" else state
        first = run_chain([self.first_module], features, relu_first=True, relu_last=True)
        last = self.in_use - 1
        mixed = self.run_modules(
            first.flatten(1, 2),
            self.module_weight[:, :last],
            self.module_bias[:, :last],
            self.per_group(sources),
            self.per_group(weights),
            None if suitable is None else self.per_group(suitable),
            self.config.residual,
        )

        def per_row(t: Tensor) -> Tensor:
            return t.view(*t.shape[:3], batch, tasks).permute(0, 3, 4, 1, 2)

        route = Route(
            per_row(sources),
            per_row(weights),
            lambda: per_row(self.suitable(logits.detach(), sources)),
            lambda: per_row(self.in_groups(logits)),
        )
        return Output(self.head(mixed.view(ensemble, batch, tasks, -1)), route)

    def per_group(self, t: Tensor) -> Tensor:
        """From [ensemble, group, K, row] to [group in use, ensemble, row, K], as ``run_modules`` wants it."""
        if self.in_use < self.config.num_modules:
            t = torch.cat([t[:, : self.in_use - 1], t[:, -1:]], 1)
        return t.permute(1, 0, 3, 2)

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
        """Logits [ensemble, N(N+1)/2, row], a row being a (batch, task) pair.

        So laid out, PyTorch reduces groups over whole vectors; the compiled library takes rows as they are. Logits are
        in float32 at least, whatever the products before them are in: in fewer bits many would be equal.
        """
        if self.router is None:
            ensemble, batch, tasks, _ = state.shape
            return state.new_zeros(ensemble, self.num_candidates, batch * tasks)
        if self.decided_at_once and serving(state) is not None:
            rows = self.route_chain(self.router, state)
            return rows.flatten(1, 2).transpose(1, 2)
        hidden = self.route_chain(self.router[:-1], state, relu_last=True)
        last = self.router[-1]
        assert isinstance(last, StackedLinear)
        return at_least_float32(last.transposed(hidden))

    def route_chain(self, layers: Iterable[nn.Module], state: Tensor, relu_last: bool = False) -> Tensor:
        """What ``layers`` of the router make of an encoded state."""
        if self.task_encoder is not None and self.config.router_input in ("product", "relu-product"):
            relu_first = self.config.router_input == "relu-product"
            return run_chain(layers, state, relu_last, relu_first, scale=self.task_encoder())
        return run_chain(layers, self.router_input(state), relu_last)

    def in_groups(self, logits: Tensor) -> Tensor:
        """Spread logits over [ensemble, group, N, row]; minus infinity where a group has no such candidate."""
        count = self.config.num_modules
        nothing = logits.new_full((logits.shape[0], 1, logits.shape[2]), NO_CANDIDATE)
        spread = torch.cat([logits, nothing], 1).index_select(1, self.logit_or_nothing)
        return spread.view(logits.shape[0], count, count, -1)

    def decide(self, logits: Tensor, rule: RouteRule, batch: int, restrict: bool) -> Decided:
        """Pick sources, weigh them, and say which of them ResRouting lets be optimised if that is asked for."""
        kernel = serving(logits)
        if kernel is not None and self.decided_at_once:
            return compiled.decide(kernel, logits, self.question(rule, restrict))
        with torch.no_grad():
            sources = self.choose(logits.detach(), rule, batch)
            suitable = self.suitable(logits.detach(), sources) if restrict else None
        return Decided(sources, self.weigh(logits, sources), suitable)

    def question(self, rule: RouteRule, restrict: bool) -> Question:
        """The rule as the compiled library takes it."""
        question = Question(self.config.num_modules, self.in_use, self.top_k, restrict)
        match rule:
            case Replayed(sources):
                given = sources.flatten(1, 2).to(torch.uint8).contiguous()
                return question._replace(given=given)
            case Sampled(temperature, gumbel):
                noise = gumbel.permute(0, 3, 1, 2).flatten(2)
                return question._replace(noise=noise, temperature=temperature)
            case Deterministic():
                return question

    def choose(self, logits: Tensor, rule: RouteRule, batch: int) -> Tensor:
        """Pick K sources a group, [ensemble, group, K, row]."""
        match rule:
            case Replayed(sources):
                replayed = sources.permute(0, 3, 4, 1, 2).flatten(3).to(torch.long)
                return replayed.expand(self.ensemble, -1, -1, -1)
            case Sampled(temperature, gumbel):
                coldness = temperature.reciprocal().repeat(1, batch).unsqueeze(1)
                noise = gumbel.permute(0, 3, 1, 2).flatten(2)
                return self.top(self.in_groups(torch.addcmul(noise, logits, coldness)))
            case Deterministic() if self.fixed_route is not None:
                return self.fixed_route.repeat(1, 1, 1, batch)
            case Deterministic() if self.config.router == "none":
                return self.last_candidate.unsqueeze(2).expand(self.ensemble, -1, 1, logits.shape[-1])
            case Deterministic():
                return self.top(self.in_groups(logits))

    def top(self, scores: Tensor) -> Tensor:
        """The K largest scores of each group of [ensemble, group, N, row]; fewer than K repeat the last candidate."""
        count = self.config.num_modules
        if self.top_k == count:
            best = torch.arange(count, device=scores.device).view(-1, 1).expand_as(scores)
        else:
            best = largest(scores, self.top_k)
        return torch.where(self.in_group.unsqueeze(2), best, self.last_candidate.unsqueeze(2))

    def weigh(self, logits: Tensor, sources: Tensor) -> Tensor:
        """Softmax over the logits of the chosen sources alone, or their part of the full one.

        Shape [ensemble, group, K, row].
        """
        missing = torch.where(self.in_group, 0.0, NO_CANDIDATE).to(logits.dtype).unsqueeze(2)
        chosen = self.of_sources(logits, sources) + missing
        if self.config.renormalise:
            return chosen.softmax(2)
        return (chosen - self.in_groups(logits).logsumexp(2, keepdim=True)).exp()

    def suitable(self, logits: Tensor, sources: Tensor) -> Tensor:
        """Which chosen sources ResRouting lets be optimised, same shape as ``sources``."""
        in_groups = self.in_groups(logits)
        if self.config.resrouting == "target":
            best = self.top(in_groups)
            return (sources.unsqueeze(3) == best.unsqueeze(2)).any(3)
        share = in_groups.softmax(2).gather(2, sources)
        return share > 1.0 / (self.last_candidate + 2).unsqueeze(2)

    def of_sources(self, logits: Tensor, sources: Tensor) -> Tensor:
        """The logits of chosen sources, [ensemble, group, K, row]."""
        index = sources + self.first_logit.unsqueeze(2)
        return logits.gather(1, index.flatten(1, 2)).view(sources.shape)

    @property
    def decided_at_once(self) -> bool:
        """Whether the compiled library knows this way to decide: the paper's, not every ablation."""
        config = self.config
        return (
            config.router == "learned"
            and config.renormalise
            and config.resrouting != "target"
            and self.top_k < config.num_modules
        )

    @property
    def restricts(self) -> bool:
        """Whether ResRouting blocks gradients in training."""
        return self.config.resrouting != "off"

    def module_parameters(self) -> list[nn.Parameter]:
        """Weight and bias of module 1, and those of modules 2..N, stacked."""
        return [self.first_module.weight, self.first_module.bias, self.module_weight, self.module_bias]

    def by_module(self, gradients: Sequence[Tensor]) -> Tensor:
        """Sort gradients of :meth:`module_parameters` by module, [N, parameter]."""
        first_weight, first_bias, weight, bias = gradients
        rows = [torch.cat([first_weight.flatten(), first_bias.flatten()])]
        rows += [torch.cat([weight[:, i].flatten(), bias[:, i].flatten()]) for i in range(weight.shape[1])]
        return padded_rows(rows)

    def multiply_adds(self, edge: Tensor) -> Tensor:
        """Multiply-adds of a decision with unused modules skipped, for ``edge`` [..., group, module]."""
        linear = [*self.state_encoder, *(self.router or []), self.head]
        outside = sum(layer.weight[0].numel() for layer in linear)
        return route_graph.multiply_adds(
            edge, outside, self.config.encoder_dim, self.config.module_dim, self.top_k
        )


def largest(scores: Tensor, k: int) -> Tensor:
    """Indices of the k largest scores along dimension 2, largest first; of equal ones the first comes first.

    Where the scores of many rows lie side by side this is much faster than ``topk``: k passes of vector maxima. A score
    that is not a number chooses the last candidate, so that it reaches the loss, where it is diagnosed.
    """
    count = scores.shape[2]
    after = torch.arange(count - 1, -1, -1, dtype=scores.dtype, device=scores.device).unsqueeze(1)
    chosen: list[Tensor] = []
    for _ in range(k):
        if chosen:
            scores = scores.scatter(2, chosen[-1], NO_CANDIDATE)
        # a comparison into floats runs over vectors, one into booleans does not
        is_best = torch.eq(scores, scores.amax(2, keepdim=True), out=torch.empty_like(scores))
        chosen.append(count - 1 - is_best.mul_(after).amax(2, keepdim=True).to(torch.long))
    return torch.cat(chosen, 2)
