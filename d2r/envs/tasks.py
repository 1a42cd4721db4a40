"""The tasks of a benchmark, built from Meta-World's environment classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from metaworld.env_dict import MT50_V3
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from d2r.envs.stepping import FastSawyer, fast_class
from d2r.errors import UserError, nearest

INFO_KEYS = (
    "success",
    "near_object",
    "grasp_success",
    "grasp_reward",
    "in_place_reward",
    "obj_to_target",
    "unscaled_reward",
)
"""What every Meta-World task reports at every step, in the order of the columns of our info arrays."""

# fmt: off
_STEP_COSTS = (
    135, 95, 110, 160, 80, 80, 85, 80, 110, 120,
    115, 90, 135, 90, 95, 100, 100, 115, 90, 80,
    85, 75, 125, 95, 95, 100, 90, 95, 120, 95,
    120, 95, 90, 80, 85, 105, 125, 115, 150, 140,
    110, 110, 105, 80, 80, 105, 120, 100, 85, 85,
)
# fmt: on


def share_out(task_names: Sequence[str], workers: int) -> list[list[int]]:
    """Share tasks out so that all workers take about as long for a step: the costliest first, to the least busy.

    Costs are measured (a step and its part of a reset, in percent of a mean step); they decide on nothing but speed.

    Returns:
        For each worker the indices of its tasks, ascending.
    """
    costs = dict(zip(MT50_V3, _STEP_COSTS, strict=True))
    shares: list[list[int]] = [[] for _ in range(workers)]
    load = [0] * workers
    for task in sorted(range(len(task_names)), key=lambda task: -costs[task_names[task]]):
        worker = load.index(min(load))
        shares[worker].append(task)
        load[worker] += costs[task_names[task]]
    return [sorted(share) for share in shares]


def task_class(task_name: str) -> Any:
    """Meta-World's class (``type[SawyerXYZEnv]``) of a task such as ``reach-v3``.

    Raises:
        UserError: if there is no such task.
    """
    if task_name not in MT50_V3:
        raise UserError(f"no task '{task_name}': {nearest(task_name, MT50_V3)}")
    return MT50_V3[task_name]


def show_goal(env: SawyerXYZEnv) -> None:
    """What ``set_task`` does in a multi-task benchmark besides choosing the goal: make it part of the observation."""
    env._set_task_called = True
    if env._partially_observable:
        env._partially_observable = False
        del env.sawyer_observation_space  # cached; its goal bounds depend on the flag


def make_fast(task_name: str, reward_version: Literal["v1", "v2"] = "v2") -> FastSawyer:
    """Build a task that returns the same bits as :func:`make_stock`'s, quicker."""
    env = fast_class(task_class(task_name))(reward_function_version=reward_version)
    show_goal(env)
    env.look_up_names()
    return env


def make_stock(task_name: str, reward_version: Literal["v1", "v2"] = "v2") -> SawyerXYZEnv:
    """Build a task as Meta-World has it, goal observable, with no goal chosen yet."""
    env: SawyerXYZEnv = task_class(task_name)(reward_function_version=reward_version)
    show_goal(env)
    return env
