"""Two easy tasks in Meta-World's format, without Meta-World: move a point to a goal, or to where a mirror shows it.

Both look alike to the policy, and along one axis what is right in one is wrong in the other, so a method must
tell tasks apart to solve both. They are plain arithmetic on [episode, task] arrays: a method is trained in seconds.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from d2r.algorithms.policy import mean_action, sample_action
from d2r.algorithms.replay import Replay
from d2r.algorithms.sac import MultiTaskSAC
from d2r.config import load_method, resolve_network
from d2r.networks.registry import build_actor, build_critics

TASKS = 2
MIRROR = torch.tensor([[1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])
HORIZON = 20
STEP = 0.15
NEAR = 0.2
REWARD = 2.0

STEPS, WARMUP, BATCH = 1_000, 100, 64
RATES = {"lr_actor": 3e-3, "lr_critic": 3e-3, "lr_alpha": 5e-3, "discount": 0.9, "batch_per_task": BATCH}
WIDTH = 0.16
EPISODES = 50


class PointTasks:
    """``episodes`` copies of both tasks, stepped together."""

    def __init__(self, episodes: int, generator: torch.Generator):
        self.episodes, self.generator = episodes, generator

    def reset(self) -> Tensor:
        """Begin new episodes with new goals: observations [episode, task, 39]."""
        self.goal = 1.4 * torch.rand(self.episodes, TASKS, 3, generator=self.generator) - 0.7
        self.position = torch.zeros(self.episodes, TASKS, 3)
        return self.observe()

    def observe(self) -> Tensor:
        filler = torch.zeros(self.episodes, TASKS, 33)
        return torch.cat([self.position, filler, self.goal], -1)

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Move by [episode, task, 4] (the last one is idle): observations, rewards and success."""
        self.position = (self.position + STEP * action[..., :3]).clamp(-1, 1)
        distance = (self.position - MIRROR * self.goal).norm(dim=-1)
        return self.observe(), REWARD * (1 - distance), distance < NEAR


class Outcome(NamedTuple):
    """Success rate at any step and mean return, of each task [task]."""

    success: Tensor
    returns: Tensor


def evaluate(policy, seed: int) -> Outcome:
    """Run ``policy``, from observations [episode, task, 39] to actions, on goals that depend on the seed only."""
    tasks = PointTasks(EPISODES, torch.Generator().manual_seed(1_000 + seed))
    observation = tasks.reset()
    success, returns = torch.zeros(EPISODES, TASKS, dtype=torch.bool), torch.zeros(EPISODES, TASKS)
    for _ in range(HORIZON):
        observation, reward, near = tasks.step(policy(observation))
        success |= near
        returns += reward
    return Outcome(success.float().mean(0), returns.mean(0))


def random_outcome(seed: int) -> Outcome:
    """What uniformly random actions reach."""
    source = torch.Generator().manual_seed(seed)
    return evaluate(lambda seen: 2 * torch.rand(*seen.shape[:2], 4, generator=source) - 1, seed)


def trained_outcome(method: str, seed: int) -> Outcome:
    """Train a method, narrowed, with its own switches and the rates of this trial, and evaluate it."""
    source = torch.Generator().manual_seed(seed)
    network = resolve_network(method, "mt10", WIDTH)
    actor, critics = build_actor(network, TASKS, source), build_critics(network, TASKS, source)
    config = load_method(method).sac.model_copy(update=RATES)
    learner = MultiTaskSAC(actor, critics, config)
    replay = Replay(
        STEPS, HORIZON, TASKS, False, actor.route_shape if config.policy_route == "stored" else None
    )
    tasks = PointTasks(1, source)
    for step in range(STEPS):
        if step % HORIZON == 0:
            observation = tasks.reset()
            replay.begin_episode(observation[0])
        with torch.no_grad():
            output = actor(observation.unsqueeze(0), learner.sampled(actor, 1, source))
            action, _ = sample_action(output.value[0], torch.randn(1, TASKS, 4, generator=source))
        observation, reward, _ = tasks.step(action)
        route = None if output.route is None else output.route.sources[0, 0].to(torch.uint8)
        replay.add(action[0], reward[0], observation[0], route)
        if step >= WARMUP:
            batch = replay.sample(BATCH, source)
            learner.update(batch, learner.draw(batch, source))
    with torch.no_grad():
        return evaluate(lambda seen: mean_action(actor(seen.unsqueeze(0)).value[0]), seed)
