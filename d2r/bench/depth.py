"""What a decision costs: multiply-adds and processor time, every module computed, and unused modules really skipped.

A routed policy that drives one robot decides for one state at a time. There, modules that the route does not read can
be left out; in a batch every row has a route of its own, and what one row skips another one needs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from d2r.config import load_scale, resolve_run
from d2r.errors import UserError
from d2r.networks import route_graph
from d2r.networks.base import DETERMINISTIC, Network
from d2r.networks.compute import dense_multiply_adds
from d2r.networks.registry import OBSERVATION_DIM, build_actor
from d2r.networks.routing import RoutedNetwork

METHODS = ("d2r", "d2r-fixed-depth", "mtsac-matched", "softmod-deep")
REPEATS = 20


def decide_with_used_modules(network: RoutedNetwork, x: Tensor) -> Tensor:
    """The output for one state of each task, [1, 1, task, inputs], with no module computed that no task reads.

    Args:
        network: an actor with routes; each row takes its deterministic route.
    """
    state = network.state_encoder[1](network.state_encoder[0](x).relu_())
    seen = network.router_input(state)
    logits = network.routing_logits(seen)
    sources = network.choose(logits, DETERMINISTIC, 1)
    weights = network.weigh(logits, sources)[0].unsqueeze(3)
    index, count = sources[0].tolist(), network.config.num_modules
    used = {source for chosen in index[-1] for source in chosen}
    for target in range(count - 1, 0, -1):
        if target in used:
            used |= {source for chosen in index[target - 1] for source in chosen}
    features = seen if network.config.router == "none" else state
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


def processor_ms(decide: Callable[[], Any], rounds: int) -> float:
    """Processor time of one call in milliseconds, the best of ``rounds`` rounds of some calls each."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(REPEATS):
            decide()
        best = min(best, time.process_time() - began)
    return 1e3 * best / REPEATS


def measure_method(method: str, rounds: int) -> dict[str, Any]:
    """Cost of deciding with one method's untrained actor of the paper's size on MT10, for ten tasks and for one."""
    config = resolve_run(load_scale("paper"), "mt10-rand", method, 1)

    def actor_of(tasks: int) -> Network:
        return build_actor(config.network, tasks, torch.Generator().manual_seed(0)).eval()

    generator = torch.Generator().manual_seed(1)
    ten, one = actor_of(config.num_tasks), actor_of(1)
    states = torch.randn(1, 1, config.num_tasks, OBSERVATION_DIM, generator=generator)
    state = states[:, :, :1]
    result: dict[str, Any] = {
        "multiply_adds": dense_multiply_adds(ten, OBSERVATION_DIM),
        "ten_tasks_ms": round(processor_ms(lambda: ten(states), rounds), 4),
        "one_task_ms": round(processor_ms(lambda: one(state), rounds), 4),
    }
    if isinstance(one, RoutedNetwork) and isinstance(ten, RoutedNetwork):
        many = torch.randn(1, 100, config.num_tasks, OBSERVATION_DIM, generator=generator)
        route = ten(many).route
        assert route is not None
        edge = route_graph.edges(route)
        result |= {
            "modules_used": round(float(route_graph.used_modules(edge).sum(-1).float().mean()), 2),
            "multiply_adds_used": round(float(ten.multiply_adds(edge).float().mean())),
            "one_task_skipping_ms": round(
                processor_ms(lambda: decide_with_used_modules(one, state), rounds), 4
            ),
        }
    return result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``d2r bench depth``."""
    parser.add_argument("--rounds", type=int, default=30, help="measurements (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    if args.rounds <= 0:
        raise UserError(f"rounds is {args.rounds}: must be positive")
    torch.set_num_threads(1)
    with torch.no_grad():
        result = {method: measure_method(method, args.rounds) for method in METHODS}
    if args.json:
        print(json.dumps(result))
        return 0
    for method, costs in result.items():
        print(method)
        for name, value in costs.items():
            print(f"  {name:22s} {value:>12,}")
    return 0
