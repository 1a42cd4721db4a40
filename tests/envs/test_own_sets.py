"""Any set of tasks is an environment, here and in processes, and the same as stock Meta-World."""

from __future__ import annotations

import numpy as np
import pytest

from d2r.config.benchmarks import Benchmark
from d2r.verify.environment import verify_environment
from tests.support.environments import HORIZON, build, shortened, trace

DOORS = Benchmark(id="mt3-doors", tasks=("door-open-v3", "door-close-v3", "door-lock-v3"), goals="rand")
PROTOCOL = shortened("d2r-official", HORIZON)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_set_of_ones_own_is_the_same_in_processes(workers: int) -> None:
    actions = np.random.default_rng(2).uniform(-1, 1, (20, 3, 4)).astype(np.float32)
    traces = []
    for count in (0, workers):
        env = build(PROTOCOL, DOORS, workers=count)
        assert env.task_names == DOORS.tasks
        assert env.reset_arrays().shape == (3, 39)
        traces.append(trace(env, actions))
        env.close()
    assert traces[0] == traces[1]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("goals", ["fixed", "rand"])
def test_one_task_alone_is_stock(goals: str) -> None:
    report = verify_environment(f"mt1-door-open-v3-{goals}", PROTOCOL, seed=4, steps=30)
    assert report.difference is None
    assert report.compared["reward"] == 30
