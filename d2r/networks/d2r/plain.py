"""Dynamic Depth Routing on one page: the paper's method (He et al., AAAI 2024, arXiv 2312.14472), and nothing fast.

**Routing** (section 3.1). N small modules stand in a fixed order. For every state and task a router chooses, for each
module and for the output, K of the modules before it, whose outputs it reads as a weighted sum. A module that nobody
reads has no part in the answer: easy tasks can take short paths through the modules, hard tasks long ones.

**ResRouting** (section 3.2). The actor is trained along the *behaviour* route, by which the action was taken and which
the replay has kept. The router has changed since, so that route may have modules which it would hardly choose for this
state and task any more. Such a module is *unsuitable*: it serves other tasks by now, and a gradient from this one would
spoil it for them. So all modules of the route are trained except the unsuitable ones. From the sum x that it reads, a
module computes

    m = y + x,    y = ReLU(W x + b),

and a reader that it does not suit computes its own y from detach(y) + x in place of m. That is the same number, but
this y gives W and b no gradient; along the shortcut x it goes on to the modules before. The reader's own shortcut adds
up m itself, as in the official code, and is never blocked. Values never change, only who learns.

**Route balancing** (section 3.3) is the temperature at which routes are drawn, higher for tasks that are not mastered
yet: ``MultiTaskSAC.route_temperature``.

``D2RNetwork`` (``levels.py``) computes the same values and gradients fast; tests hold the two together, and both to the
official code. Where paper and code differ the code is followed, as listed in ``network.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from d2r.config.networks import RoutedConfig
from d2r.networks.base import Network, Output
from d2r.networks.layers import HIDDEN_BIAS
from d2r.networks.maker import Maker
from d2r.networks.routing import DETERMINISTIC, Deterministic, Replayed, Route, RouteRule, Sampled


class Choice(NamedTuple):
    """What one reader reads: K ``sources``, and for each of its c candidates a weight ``p`` and whether it suits."""

    sources: Tensor
    p: Tensor
    suitable: Tensor


class PlainD2R(Network):
    """E copies of D2R, with the parameters of ``D2RNetwork`` under the same names.

    Raises:
        TypeError: if ``config`` is one of D2R's variants.
    """

    def __init__(self, config: RoutedConfig, make: Maker):
        super().__init__(make)
        sizes = {"num_modules", "module_dim", "encoder_dim", "router_dim", "top_k"}
        if config != RoutedConfig(**config.model_dump(include=sizes)):
            raise TypeError("plain.py has D2R itself; its variants are switches of D2RNetwork")
        count, dim, width = config.num_modules, config.module_dim, config.encoder_dim
        self.config, self.top_k = config, config.top_k or count
        self.state_encoder = make.chain(make.inputs, width, width)
        self.task_encoder = make.task_encoder(width)
        self.router = make.chain(width, config.router_dim, config.router_dim, self.num_logits)
        self.first_module = make.linear(width, dim)
        self.module_weight = make.uniform(dim**-0.5, count - 1, dim, dim)
        self.module_bias = nn.Parameter(torch.full((make.ensemble, count - 1, dim), HIDDEN_BIAS))
        self.head = make.head(dim)

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs]."""
        state = chain(self.state_encoder, x)
        task = linear(torch.eye(self.num_tasks).to(x), *self.task_encoder.parameters())
        logits = chain(self.router, state * task)
        # reader i = 1..N has the i modules before it as candidates; the last reader is the output
        of_readers = torch.split(logits, list(range(1, self.config.num_modules + 1)), dim=-1)
        *choices, of_output = [self.choose(of_reader, rule) for of_reader in of_readers]

        # m of each module, and what stands for it where it does not suit; module 1 has no shortcut
        first = linear(state.relu(), *self.first_module.parameters()).relu()
        modules, blocked = [first], [first.detach()]
        weights, biases = self.module_weight.unbind(1), self.module_bias.unbind(1)
        for choice, weight, bias in zip(choices, weights, biases, strict=True):
            y = linear(self.read(choice, modules, blocked), weight, bias).relu()
            shortcut = weighted_sum(choice.p, modules)  # the same numbers, and never blocked
            modules.append(y + shortcut)
            blocked.append(y.detach() + shortcut)
        value = linear(self.read(of_output, modules, blocked), *self.head.parameters())
        return Output(value, as_route([*choices, of_output], of_readers, self.top_k))

    def choose(self, logits: Tensor, rule: RouteRule) -> Choice:
        """Choose among the c candidates of a reader by their ``logits`` [E, batch, task, c]."""
        candidates = logits.shape[-1]
        k, before = min(self.top_k, candidates), candidates * (candidates - 1) // 2
        match rule:
            case Deterministic():  # in evaluation, for instance: the K best
                sources = logits.topk(k).indices
            case Sampled(tau, gumbel):  # to act: K draws without replacement from softmax(logits / tau)
                noise = gumbel[..., before : before + candidates]
                sources = (logits / tau[:, None, :, None] + noise).topk(k).indices
            case Replayed(behaviour):  # in the policy loss: what was read when the action was taken
                sources = behaviour[..., candidates - 1, :k].long().expand(*logits.shape[:-1], k)
        chosen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, sources, True)
        p = logits.masked_fill(~chosen, float("-inf")).softmax(-1)
        return Choice(sources, p, suitable=logits.softmax(-1) > 1 / (candidates + 1))

    def read(self, choice: Choice, modules: Sequence[Tensor], blocked: Sequence[Tensor]) -> Tensor:
        """The weighted sum that a reader computes with, under ResRouting in training."""
        if not self.training:
            return weighted_sum(choice.p, modules)
        suits = choice.suitable.unsqueeze(-1).unbind(-2)
        sources = [torch.where(s, m, b) for s, m, b in zip(suits, modules, blocked, strict=True)]
        return weighted_sum(choice.p, sources)

    @property
    def num_logits(self) -> int:
        """N(N+1)/2: readers have 1, 2, ..., N candidates."""
        return self.config.num_modules * (self.config.num_modules + 1) // 2

    @property
    def route_shape(self) -> tuple[int, int] | None:
        """(N, K) of the routes that the replay keeps."""
        return self.config.route_shape


def weighted_sum(p: Tensor, modules: Sequence[Tensor]) -> Tensor:
    """Sum of modules [E, batch, task, dim] weighted by p [E, batch, task, module]."""
    return (p.unsqueeze(-1) * torch.stack(list(modules), -2)).sum(-2)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """W x + b with the parameters of each copy: [E or 1, batch, task, inputs] to [E, batch, task, outputs]."""
    return x @ weight.transpose(1, 2).unsqueeze(1) + bias[:, None, None]


def chain(layers: nn.ModuleList, x: Tensor) -> Tensor:
    """Linear layers with ReLU between them."""
    *hidden, last = layers
    for layer in hidden:
        x = linear(x, *layer.parameters()).relu()
    return linear(x, *last.parameters())


def as_route(choices: Sequence[Choice], logits: Sequence[Tensor], top_k: int) -> Route:
    """All choices in the layout that the replay keeps; a reader with fewer than K candidates repeats its last one."""
    rows = []
    for (sources, p, suitable), of_reader in zip(choices, logits, strict=True):
        missing, last = (0, top_k - sources.shape[-1]), of_reader.shape[-1] - 1
        repeated, weights = F.pad(sources, missing, value=last), F.pad(p.gather(-1, sources), missing)
        padded = F.pad(of_reader, (0, len(logits) - 1 - last), value=float("-inf"))
        rows.append((repeated, weights, suitable.gather(-1, repeated), padded))
    return Route(*(torch.stack(part, -2) for part in zip(*rows, strict=True)))
