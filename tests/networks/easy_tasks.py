"""Two easy Meta-World tasks for trials of a method that take two minutes: reach, and open a drawer, one goal each.

Chosen out of all fifty: on these two, single agents of this size got furthest above random actions in a first look
of 3,000 updates. Their rewards lead towards the goal from the first step on, so that no luck is needed.

Environments, replay, learner and policy are those of a run. Sizes, rates, discount, reward scale, time limit and
warm-up are of this trial, chosen so that this is enough.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from d2r.algorithms.policy import mean_action, sample_action
from d2r.algorithms.replay import Replay
from d2r.algorithms.sac import MultiTaskSAC
from d2r.config import load_method, resolve_network
from d2r.config.benchmarks import load_benchmark
from d2r.config.schema import Protocol
from d2r.envs.slices import TaskSlice
from d2r.networks.registry import build_actor, build_critics

BENCHMARK = "mt10-fixed"
TASK_NAMES = ("reach-v3", "drawer-open-v3")
HORIZON = 100
PROTOCOL = Protocol(
    id="easy",
    description="Short episodes of two tasks.",
    horizon=HORIZON,
    reward_scale=1.0,
    rand_goals="continuous",
    time_limit="bootstrap",
    evaluation_episodes=1,
)
WARMUP, BATCH = 1_000, 32
EVALUATE_EVERY = 500
RATES = {
    "lr_alpha": 5e-3,
    "discount": 0.95,
    "target_tau": 0.02,
    "batch_per_task": BATCH,
}
RANDOM_EPISODES = 20


class Trial(NamedTuple):
    """What may differ from method to method."""

    updates: int = 10_000
    width: float = 0.16
    learning_rate: float = 1e-3


TRIALS = {
    "softmod-shallow": Trial(learning_rate=3e-3),
    "softmod-deep": Trial(updates=20_000, width=0.32),
}
"""Of methods that need more: the signal of Soft Modularization is small at first, layer after layer."""

Policy = Callable[[Tensor], Tensor]


class EasyTasks:
    """Both tasks stepped together; observations, rewards and success are [task, ...] tensors."""

    def __init__(self) -> None:
        benchmark = load_benchmark(BENCHMARK)
        self.rows = [benchmark.tasks.index(name) for name in TASK_NAMES]
        self.tasks = TaskSlice(benchmark, PROTOCOL, np.random.SeedSequence(0), False, self.rows)

    def reset(self) -> Tensor:
        """Begin new episodes."""
        self.tasks.reset()
        return self.row_values(self.tasks.buffers.observations)

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take [task, 4] actions: observations, rewards and success."""
        buffers = self.tasks.buffers
        buffers.actions[self.rows] = action.numpy()
        self.tasks.step(last=False)
        success = self.row_values(buffers.infos)[:, 0] > 0
        return self.row_values(buffers.observations), self.row_values(buffers.rewards), success

    def row_values(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array[self.rows]).float()


class Outcome(NamedTuple):
    """Success at any step and return of each episode and task, [episode, task]."""

    success: Tensor
    returns: Tensor


def evaluate(policy: Policy, episodes: int) -> Outcome:
    """Run ``policy``, from observations [task, 39] to actions [task, 4]."""
    tasks = EasyTasks()
    success, returns = torch.zeros(episodes, len(TASK_NAMES)), torch.zeros(episodes, len(TASK_NAMES))
    for episode in range(episodes):
        observation = tasks.reset()
        for _ in range(HORIZON):
            observation, reward, solved = tasks.step(policy(observation))
            success[episode].clamp_(min=solved.float())
            returns[episode] += reward
    return Outcome(success, returns)


def random_outcome(seed: int) -> Outcome:
    """What uniformly random actions reach."""
    source = torch.Generator().manual_seed(seed)
    return evaluate(lambda seen: 2 * torch.rand(len(seen), 4, generator=source) - 1, RANDOM_EPISODES)


@cache
def best_fixed_action() -> Tensor:
    """Of all actions with each direction in -1, -0.5, ..., 1, the best one's return on each task, [task].

    Best is the mean over the tasks: a policy that sees nothing does one thing in all of them.
    """
    directions = itertools.product((-1.0, -0.5, 0.0, 0.5, 1.0), repeat=3)
    actions = [torch.tensor([*direction, 0.0]).expand(len(TASK_NAMES), 4) for direction in directions]
    returns = [evaluate(lambda _, action=action: action, 1).returns[0] for action in actions]
    return max(returns, key=lambda of_tasks: float(of_tasks.mean()))


def trained_outcome(method: str, seed: int) -> Outcome:
    """Train a method, narrowed, with its own switches and these rates.

    Its mean action is evaluated over the last quarter of the updates: single policies waver.
    """
    trial = TRIALS.get(method, Trial())
    steps = WARMUP + trial.updates
    source = torch.Generator().manual_seed(seed)
    network, tasks = resolve_network(method, "mt10", trial.width), len(TASK_NAMES)
    actor, critics = build_actor(network, tasks, source), build_critics(network, tasks, source)
    rates = {"lr_actor": trial.learning_rate, "lr_critic": trial.learning_rate}
    config = load_method(method).sac.model_copy(update=RATES | rates)
    learner = MultiTaskSAC(actor, critics, config)
    replay = Replay(
        steps, HORIZON, tasks, False, actor.route_shape if config.policy_route == "stored" else None
    )

    @torch.no_grad()
    def trained(seen: Tensor) -> Tensor:
        return mean_action(actor(seen.view(1, 1, tasks, -1)).value[0, 0])

    environment, outcomes = EasyTasks(), []
    for step in range(steps):
        if step >= steps - trial.updates // 4 and step % EVALUATE_EVERY == 0:
            outcomes.append(evaluate(trained, 1))
        if step % HORIZON == 0:
            observation = environment.reset()
            replay.begin_episode(observation.unsqueeze(0))
        with torch.no_grad():
            output = actor(observation.view(1, 1, tasks, -1), learner.sampled(actor, 1, [source]))
            action, _ = sample_action(output.value[0], torch.randn(1, tasks, 4, generator=source))
        observation, reward, _ = environment.step(action[0])
        route = None if output.route is None else output.route.sources[:, 0].to(torch.uint8)
        replay.add(action, reward.unsqueeze(0), observation.unsqueeze(0), route)
        if step >= WARMUP:
            batch = replay.sample(BATCH, [source])
            learner.update(batch, learner.draw(batch, [source]))
    outcomes.append(evaluate(trained, 1))
    return Outcome(*(torch.cat(values) for values in zip(*outcomes, strict=True)))
