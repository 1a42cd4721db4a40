"""What a decision costs: multiply-adds and processor time, every module computed, and unused modules really skipped.

A routed policy that drives one robot decides for one state at a time. There, modules that the route does not read can
be left out; in a batch every row has a route of its own, and what one row skips another one needs. How many modules an
untrained actor uses depends on its initial values, so costs are means over several of them, each with a state of its
own; modules, multiply-adds and times are of the same decisions. Methods and ways to decide are measured in turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from d2r.config import load_scale, resolve_run
from d2r.config.benchmarks import OBSERVATION_DIM
from d2r.errors import UserError
from d2r.networks.base import Network
from d2r.networks.compute import dense_multiply_adds
from d2r.networks.d2r import route_graph
from d2r.networks.d2r.levels import D2RNetwork
from d2r.networks.registry import build_actor
from d2r.networks.routing import DETERMINISTIC

METHODS = ("d2r", "d2r-fixed-depth", "mtsac-matched", "softmod-deep")
TASKS = 10
ACTORS = 8
"""Initialisations of each method."""
REPEATS = 3


def decide_with_used_modules(network: D2RNetwork, x: Tensor) -> Tensor:
    """The output for one state of each task, [1, 1, task, inputs], with no module computed that no task reads.

    Args:
        network: an actor with routes; each row takes its deterministic route.
    """
    state = network.state_encoder[1](network.state_encoder[0](x).relu_())
    logits = network.routing_logits(state)
    sources = network.choice.choose(logits, network.without_router(DETERMINISTIC, 1), 1)
    weights = network.choice.weigh(logits, sources)[0].unsqueeze(3)
    index, count = sources[0].tolist(), network.config.num_modules
    used = {source for chosen in index[-1] for source in chosen}
    for target in range(count - 1, 0, -1):
        if target in used:
            used |= {source for chosen in index[target - 1] for source in chosen}
    features = network.router_input(state) if network.config.router == "none" else state
    tasks = x.shape[2]
    outputs = torch.zeros(count, tasks, network.config.module_dim)
    outputs[0] = network.first_module(features.relu()).relu_()[0, 0]
    row = torch.arange(tasks)
    for target in sorted(used - {0}):
        mix = (weights[target - 1] * outputs[sources[0, target - 1], row]).sum(0)
        own = torch.addmm(
            network.module_bias[0, target - 1], mix, network.module_weight[0, target - 1].T
        ).relu_()
        outputs[target] = own + mix if network.config.residual else own
    mixed = (weights[-1] * outputs[sources[0, -1], row]).sum(0)
    value: Tensor = network.head(mixed.view(1, 1, tasks, -1))
    return value


class Decision(NamedTuple):
    """An actor with as many states as it has tasks."""

    actor: Network
    states: Tensor

    def dense(self) -> None:
        """Decide with every module computed."""
        self.actor(self.states)

    def skipping(self) -> None:
        """Decide with unused modules skipped."""
        assert isinstance(self.actor, D2RNetwork)
        decide_with_used_modules(self.actor, self.states)


def decisions(method: str, tasks: int) -> list[Decision]:
    """Untrained actors of the paper's size, each with a state."""
    config = resolve_run(load_scale("paper"), "mt10-rand", method, 1)
    made = []
    for seed in range(ACTORS):
        actor = build_actor(config.network, tasks, torch.Generator().manual_seed(seed)).eval()
        generator = torch.Generator().manual_seed(100 + seed)
        made.append(Decision(actor, torch.randn(1, 1, tasks, OBSERVATION_DIM, generator=generator)))
    return made


def work(made: Sequence[Decision]) -> dict[str, Any]:
    """Multiply-adds of these decisions: of matrix products and, for routed networks, of mixing too."""
    network = made[0].actor
    result: dict[str, Any] = {"multiply_adds": dense_multiply_adds(network, OBSERVATION_DIM)}
    if not isinstance(network, D2RNetwork):
        return result
    used, adds = [], []
    for decision in made:
        route = decision.actor(decision.states).route
        assert route is not None
        edge = route_graph.edges(route)
        used.append(int(route_graph.used_modules(edge).sum()))
        adds.append(int(network.multiply_adds(edge)))
    of_mixing = network.config.num_modules * network.top_k * network.config.module_dim
    return {
        "multiply_adds": result["multiply_adds"] + of_mixing,
        "modules_used": used,
        "multiply_adds_used": adds,
    }


def processor_ms(decide: Sequence[Callable[[], None]]) -> float:
    """Processor time in milliseconds of a decision, mean over ``decide``, each made a few times."""
    began = time.process_time()
    for one in decide:
        for _ in range(REPEATS):
            one()
    return 1e3 * (time.process_time() - began) / (len(decide) * REPEATS)


@torch.no_grad()
def measure(rounds: int) -> dict[str, Any]:
    """Costs of each method; the times are the best of ``rounds`` rounds over all methods and ways to decide.

    Raises:
        UserError: if rounds are not positive.
    """
    if rounds <= 0:
        raise UserError(f"rounds is {rounds}: must be positive")
    torch.set_num_threads(1)
    sides: dict[tuple[str, str], list[Callable[[], None]]] = {}
    costs: dict[str, Any] = {}
    for method in METHODS:
        one, ten = decisions(method, 1), decisions(method, TASKS)
        costs[method] = work(one)
        sides[method, "one_task_ms"] = [decision.dense for decision in one]
        if isinstance(one[0].actor, D2RNetwork):
            sides[method, "one_task_skipping_ms"] = [decision.skipping for decision in one]
        sides[method, "ten_tasks_ms"] = [decision.dense for decision in ten]
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(rounds):
        for side, decide in sides.items():
            best[side] = min(best[side], processor_ms(decide))
    for (method, name), spent in best.items():
        costs[method][name] = round(spent, 4)
    return costs
