"""Environment steps per second of a whole run, and where its time goes, at two settings.

``official``: the sizes, batch and schedule of the scale ``paper``. ``light``: a plain network of three layers of 128
units, 32 transitions per task, an update every second vector step, one thread and no worker processes.

Both run the training loop itself, after a short warm-up. Evaluations are too rare to happen in it: one is measured on
its own and added at the schedule's rate. What no part of the loop accounts for is ``idle``.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from d2r.algorithms import execution as options
from d2r.algorithms.prepare import check_threads, prepare
from d2r.algorithms.recorded import WARM_UPS
from d2r.bench.learner import SQUARES, SquareProducts, floor_flop
from d2r.config import RunConfig, load_scale, resolve_run
from d2r.config.networks import MlpConfig
from d2r.errors import UserError
from d2r.evaluation.success import evaluate
from d2r.networks.registry import check_size
from d2r.training import provenance
from d2r.training.loop import Machine, Run
from d2r.training.memory import keep_freed_memory
from d2r.training.rundir import RunFolders
from d2r.training.signals import StopRequest

PARTS = ("environment", "learner", "acting", "replay")
LIGHT_NETWORK = MlpConfig(hidden_dim=128, num_layers=3)


def official(benchmark: str, method: str) -> RunConfig:
    """The run of the scale ``paper``."""
    return resolve_run(load_scale("paper"), benchmark, method, 1)


def light(benchmark: str) -> RunConfig:
    """A plain network of 3 x 128, 32 transitions per task, one update every second vector step."""
    config = official(benchmark, "mtsac")
    return config.model_copy(
        update={
            "network": LIGHT_NETWORK,
            "sac": config.sac.model_copy(update={"batch_per_task": 32}),
            "budget": config.budget.model_copy(update={"update_every": 2}),
        }
    )


def measure(config: RunConfig, machine: Machine, warmup: int, steps: int) -> dict[str, Any]:
    """Run the loop for ``warmup`` vector steps without updates, a few with them, then ``steps`` measured."""
    check_size(config.network, config.num_tasks, config.method)
    torch.set_num_threads(machine.threads)
    keep_freed_memory()
    budget = config.budget
    begun = warmup + (WARM_UPS + 1) * budget.update_every
    schedule = {"steps": begun + steps + 1, "warmup_steps": warmup, "replay_capacity": begun + steps + 1}
    shortened = config.model_copy(update={"budget": budget.model_copy(update=schedule)})
    with tempfile.TemporaryDirectory() as folder, StopRequest() as stop:
        folders = RunFolders(Path(folder), shortened)
        folders.create()
        with closing(Run(shortened, folders, machine, stop)) as run:
            for _ in range(begun):
                run.take_step()
            before, updates = run.stopwatch.seconds, run.updates
            for _ in range(steps):
                run.take_step()
            after, updates = run.stopwatch.seconds, run.updates - updates
            began = time.perf_counter()
            evaluate(run.evaluation_env, run.learner.actor, 1)
            episode = time.perf_counter() - began
            floor = floor_flop(run.learner, config.sac.batch_per_task)
    products = SquareProducts(machine.device)
    gflops = max(products.gflops(size).wall for _ in range(4) for size in SQUARES[:2])
    per_step = {part: (after.get(part, 0.0) - before.get(part, 0.0)) / steps for part in PARTS}
    total = (after["total"] - before["total"]) / steps
    per_step["idle"] = total - sum(per_step.values())
    per_step["evaluation"] = episode * config.evaluation_episodes / budget.evaluate_every
    floor_per_step = floor / gflops / 1e9 / budget.update_every
    bound = per_step["environment"] + floor_per_step
    whole = total + per_step["evaluation"]
    tasks = config.num_tasks
    return {
        "method": config.method,
        "benchmark": config.benchmark,
        "batch": config.sac.batch_per_task * tasks,
        "update_every": budget.update_every,
        "policy_lag": config.protocol.policy_lag,
        "threads": machine.threads,
        "device": machine.device,
        "execution": asdict(machine.execution),
        "workers": machine.workers,
        "vector_steps": steps,
        "updates": updates,
        "steps_per_second": round(tasks / whole, 1),
        "bound_steps_per_second": round(tasks / bound, 1),
        "share_of_bound": round(bound / whole, 3),
        "times_environment_and_floor": round(whole / bound, 2),
        "floor_ms": round(1e3 * floor_per_step, 2),
        "ms_per_vector_step": {part: round(1e3 * spent, 3) for part, spent in per_step.items()},
        "share": {part: round(spent / whole, 4) for part, spent in per_step.items()},
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``d2r bench train``."""
    parser.add_argument("--benchmark", default="mt10-rand", help="whose tasks (default: %(default)s)")
    parser.add_argument("--method", default="d2r", help="of the official setting (default: %(default)s)")
    parser.add_argument(
        "--setting", choices=("official", "light", "both"), default="both", help="which to measure"
    )
    parser.add_argument(
        "--threads", type=int, default=2, help="of torch, official setting (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=0, help="official setting (default: %(default)s)")
    parser.add_argument(
        "--steps", type=int, default=20, help="vector steps measured, light setting 20 times as many"
    )
    parser.add_argument(
        "--policy-lag", type=int, choices=(0, 1), default=0, help="official setting (default: %(default)s)"
    )
    options.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    check_threads(args.threads)
    if args.steps <= 0:
        raise UserError(f"steps is {args.steps}: must be positive")
    execution = options.chosen(args)
    prepare(execution, args.device)
    result: dict[str, Any] = {}
    if args.setting != "light":
        machine = Machine(args.workers, args.threads, args.device, execution)
        config = official(args.benchmark, args.method)
        protocol = config.protocol.model_copy(update={"policy_lag": args.policy_lag})
        config = config.model_copy(update={"protocol": protocol})
        result["official"] = measure(config, machine, 200, args.steps)
    if args.setting != "official":
        result["light"] = measure(
            light(args.benchmark), Machine(0, 1, args.device, execution), 200, 20 * args.steps
        )
    result |= {
        "load_average": round(os.getloadavg()[0], 1),
        "cpu": provenance.cpu(),
        "packages": provenance.package_versions(),
    }
    if args.json:
        print(json.dumps(result))
        return 0
    for setting in ("official", "light"):
        if setting in result:
            _print(setting, result[setting])
    return 0


def _print(setting: str, one: dict[str, Any]) -> None:
    print(
        f"{setting}: {one['method']} on {one['benchmark']}, batch {one['batch']}, {one['threads']} threads, "
        f"{one['workers']} workers: {one['steps_per_second']} environment steps/s, {one['share_of_bound']} of what "
        "environment and floor would allow"
    )
    for part, spent in one["ms_per_vector_step"].items():
        print(f"  {part:12s} {spent:10.3f} ms a vector step   {one['share'][part]:7.2%}")
