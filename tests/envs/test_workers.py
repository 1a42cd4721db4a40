"""Worker processes: the same bytes as without, and no way to hang or to stay behind."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2r.config.schema import Protocol
from d2r.envs.vector import MetaWorldVectorEnv
from d2r.envs.workers import WorkerDied, _Worker
from d2r.errors import Unfit
from tests.support.environments import HORIZON, actions, build, shortened, trace

STEPS = 2 * HORIZON + 3
SECONDS = 60.0


def protocol() -> Protocol:
    return shortened("d2r-official", HORIZON)


@pytest.fixture(scope="module")
def reference() -> tuple[MetaWorldVectorEnv, bytes]:
    env = build(protocol())
    env.reset_arrays()
    return env, trace(env, actions(STEPS))


@pytest.fixture(scope="module", params=[1, 2, 3])
def pool(request: pytest.FixtureRequest) -> Iterator[MetaWorldVectorEnv]:
    with closing(build(protocol(), workers=request.param)) as env:
        yield env


def running(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_any_number_of_workers_gives_the_same_bytes_and_loads_any_others_state(
    pool: MetaWorldVectorEnv, reference: tuple[MetaWorldVectorEnv, bytes]
) -> None:
    alone, expected = reference
    pool.reset_arrays()
    assert trace(pool, actions(STEPS)) == expected
    more = actions(STEPS, number=3)
    state = pool.state_dict()
    assert alone.load_state_dict(state).tobytes() == pool.load_state_dict(state).tobytes()
    continued = trace(alone, more)
    assert trace(pool, more) == continued
    pool.load_state_dict(state)
    assert trace(pool, more) == continued
    states, own = alone.simulator_states(), pool.simulator_states()
    assert all(states[task].tobytes() == own[task].tobytes() for task in range(10))


def test_an_evaluation_environment_may_have_workers_too() -> None:
    without = build(protocol(), evaluation=True)
    with closing(build(protocol(), evaluation=True, workers=2)) as env:
        for _ in range(2):
            assert env.reset_arrays().tobytes() == without.reset_arrays().tobytes()
            assert trace(env, actions(HORIZON + 1)) == trace(without, actions(HORIZON + 1))


def test_a_killed_worker_is_one_clear_line_and_no_hang() -> None:
    env = build(protocol(), workers=2)
    env.reset_arrays()
    first, second = env._tasks.pool.process_ids
    for ignored in (signal.SIGINT, signal.SIGTERM):  # answered by the parent alone
        os.kill(first, ignored)
    env.step_arrays(actions(1)[0])
    os.kill(second, signal.SIGKILL)
    begin = time.monotonic()
    with pytest.raises(WorkerDied) as death:
        trace(env, actions(3))
    assert time.monotonic() - begin < SECONDS
    message = str(death.value)
    assert "\n" not in message
    assert (
        f"environment worker 1 (reach-v3, push-v3, drawer-open-v3, ...) died (killed by SIGKILL, process {second})"
        in message
    )
    env.close()
    assert not running(first)


def test_a_worker_killed_by_a_signal_without_a_name() -> None:
    with closing(build(protocol(), workers=1)) as env:
        env.reset_arrays()
        (worker,) = env._tasks.pool.process_ids
        os.kill(worker, signal.SIGRTMIN + 3)
        with pytest.raises(WorkerDied, match=f"killed by signal {signal.SIGRTMIN + 3}, process {worker}"):
            trace(env, actions(3))


def test_a_worker_killed_while_it_steps() -> None:
    env = build(shortened("d2r-official", 500), workers=1)
    env.reset_arrays()
    (worker,) = env._tasks.pool.process_ids
    killer = subprocess.Popen(
        [sys.executable, "-c", f"import os, time; time.sleep(0.2); os.kill({worker}, 9)"]
    )
    with pytest.raises(WorkerDied, match="killed by SIGKILL"):
        trace(env, itertools.repeat(np.zeros((10, 4))))
    killer.wait()
    env.close()


@pytest.mark.parametrize("said", [b"!", b"!\0\0", b"!\0\0\0\x09abc", b".", b".\0\0\0\x09abc"])
def test_a_worker_killed_while_it_answers(said: bytes) -> None:
    replies, end = os.pipe()
    os.write(end, said)
    os.close(end)
    worker = _Worker.__new__(_Worker)
    worker._name, worker._replies = "environment worker 0 (reach-v3)", replies
    worker._process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    worker._process.kill()
    with pytest.raises(WorkerDied, match=r"^environment worker 0 \(reach-v3\) died \(killed by SIGKILL"):
        worker.result()
    os.close(replies)
    assert worker._process.stdin is not None
    worker._process.stdin.close()


def test_a_worker_that_fails_says_why(pool: MetaWorldVectorEnv) -> None:
    with pytest.raises(
        WorkerDied, match=r"environment worker 0 .* failed: AttributeError: .*none such"
    ) as failure:
        pool._tasks._call("none\nsuch")
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    "goal",
    [
        {},
        {"stream": None},
        {"stream": {"bit_generator": "MT19937"}},
        {
            "stream": {
                "bit_generator": "PCG64",
                "state": {"state": -1, "inc": 1},
                "has_uint32": 0,
                "uinteger": 0,
            }
        },
    ],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_goals_of_another_run_are_told_from_a_fault(goal: dict[str, Any], workers: int) -> None:
    with closing(build(protocol(), workers=workers)) as env:
        now = env._with_one_hot(env.reset_arrays()).tobytes()
        whole = env.state_dict()
        with pytest.raises(Unfit, match="a state of goals is none of this benchmark's"):
            env.load_state_dict(env.state_dict() | {"goals": [goal] * env.num_envs})
        assert env.load_state_dict(whole).tobytes() == now, "the environment is of use still"


def test_closing_ends_the_processes() -> None:
    env = build(protocol(), workers=2)
    processes = env._tasks.pool.process_ids
    assert all(map(running, processes))
    env.close()
    env.close()
    assert not any(map(running, processes))


PARENT = """
import sys, time
import numpy as np
from d2r.config.schema import Protocol
from d2r.envs.vector import MetaWorldVectorEnv

env = MetaWorldVectorEnv(
    "mt10-fixed", Protocol.model_validate_json(sys.argv[1]), np.random.SeedSequence(1), workers=2
)
env.reset_arrays()
print(*env._tasks.pool.process_ids, flush=True)
while True:
    env.step_arrays(np.zeros((10, 4)))
"""


def test_workers_end_with_their_parent() -> None:
    arguments: list[Any] = [sys.executable, "-c", PARENT, protocol().model_dump_json()]
    parent = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(process) for process in parent.stdout.readline().split()]
    assert len(workers) == 2
    assert all(map(running, workers))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_until(lambda: not any(map(running, workers)))
