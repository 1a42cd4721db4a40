"""Environment steps per second of a whole run, and where its time goes, at two settings.

``official``: the sizes, batch and schedule of the scale ``paper``. ``light``: a plain network of three layers of 128
units, 32 transitions per task, an update every second vector step, one thread and no worker processes.

Both run the training loop itself, after a short warm-up, and square products for the floor in turns with it.
Evaluations are too rare to happen in it: one is measured on its own, its first resets left out, and added at the
schedule's rate. What no part of the loop accounts for is ``idle``. With ``--policy-lag 1`` environments step while the
learner learns, so that what is seen of their time is only what the loop waits for, and no bound is given.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from d2r.algorithms.execution.recorded import WARM_UPS
from d2r.bench.learner import SQUARES, SquareProducts, floor_flop
from d2r.config import RunConfig, load_scale, resolve_run
from d2r.config.networks import MlpConfig
from d2r.evaluation.success import evaluate_all
from d2r.networks.registry import check_size
from d2r.runs.folders import RunFolders
from d2r.training.loop import Cohort
from d2r.training.memory import keep_freed_memory
from d2r.training.run import Machine
from d2r.training.signals import StopRequest

PARTS = ("environment", "learner", "acting", "replay")
ROUNDS = 4
"""Parts of the measured steps, with square products before each."""
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


def measure(config: RunConfig, machine: Machine, warmup: int, steps: int, cohort: int = 1) -> dict[str, Any]:
    """Run the loop for ``warmup`` vector steps without updates, a few with them, then ``steps`` measured.

    Args:
        cohort: seeds side by side; a vector step is one of each, and environment steps are those of all.
    """
    check_size(config.network, config.num_tasks, config.method)
    torch.set_num_threads(machine.threads)
    keep_freed_memory()
    budget = config.budget
    begun = warmup + (WARM_UPS + 1) * budget.update_every
    schedule = {"steps": begun + steps + 1, "warmup_steps": warmup, "replay_capacity": begun + steps + 1}
    shortened = config.model_copy(update={"budget": budget.model_copy(update=schedule)})
    spent = dict.fromkeys((*PARTS, "total"), 0.0)
    rates: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        configs = [shortened.model_copy(update={"seed": config.seed + place}) for place in range(cohort)]
        folders = [RunFolders(Path(folder), one) for one in configs]
        for one in folders:
            one.create()
        with closing(Cohort(configs, folders, machine, StopRequest())) as run:
            for _ in range(begun):
                run.take_step()
            products, updates = SquareProducts(machine.device), run.updates
            for share in _shares(steps):
                rates += [products.gflops(size).wall for size in SQUARES]
                before = run.stopwatch.seconds
                for _ in range(share):
                    run.take_step()
                after = run.stopwatch.seconds
                for part in spent:
                    spent[part] += after[part] - before[part]
            updates = run.updates - updates
            for env in run.evaluation_envs:
                env.reset_arrays()
            began = time.perf_counter()
            evaluate_all(run.evaluation_envs, run.acting.best, 1)
            episode = time.perf_counter() - began
            floor = floor_flop(run.learner, config.sac.batch_per_task)
    gflops = max(rates)
    per_step = {part: spent[part] / steps for part in PARTS}
    total = spent["total"] / steps
    per_step["idle"] = total - sum(per_step.values())
    per_step["evaluation"] = (
        episode * config.evaluation_episodes_at(1) * config.evaluations_from(0) / budget.steps
    )
    floor_per_step = floor / gflops / 1e9 / budget.update_every
    bound = per_step["environment"] + floor_per_step if config.protocol.policy_lag == 0 else None
    whole = total + per_step["evaluation"]
    tasks = config.num_tasks * cohort
    return {
        "method": config.method,
        "benchmark": config.benchmark,
        "batch": config.sac.batch_per_task * tasks,
        "update_every": budget.update_every,
        "policy_lag": config.protocol.policy_lag,
        "threads": machine.threads,
        "device": machine.device,
        "execution": machine.execution.model_dump(),
        "workers": machine.workers,
        "cohort": cohort,
        "vector_steps": steps,
        "updates": updates,
        "steps_per_second": round(tasks / whole, 1),
        "bound_steps_per_second": bound and round(tasks / bound, 1),
        "share_of_bound": bound and round(bound / whole, 3),
        "times_environment_and_floor": bound and round(whole / bound, 2),
        "sgemm_gflops": round(gflops, 1),
        "floor_ms": round(1e3 * floor_per_step, 2),
        "ms_per_vector_step": {part: round(1e3 * spent, 3) for part, spent in per_step.items()},
        "share": {part: round(spent / whole, 4) for part, spent in per_step.items()},
    }


def _shares(steps: int) -> list[int]:
    """``steps`` in up to ``ROUNDS`` parts."""
    return [len(part) for part in np.array_split(np.arange(steps), min(ROUNDS, steps))]
