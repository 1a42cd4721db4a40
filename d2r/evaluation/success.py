"""Success rates: the deterministic policy, for whole episodes, success counted at any step.

An episode succeeds if Meta-World's success flag is set at any of its steps; it is not cut short then (official
``async_mt_para_collector.py``). A task's success is the mean over its episodes, a benchmark's the mean over tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from d2r.algorithms.policy import mean_action
from d2r.config.schema import OBSERVED_EVERY
from d2r.envs.vector import MetaWorldVectorEnv
from d2r.networks.base import Network


class Evaluation(NamedTuple):
    """One evaluation of a policy.

    Attributes:
        success: [task, episode] boolean.
        returns: [task, episode], sum of Meta-World's own (unscaled) rewards.
        states: [state, task, 39], every tenth visited observation.
    """

    success: npt.NDArray[np.bool_]
    returns: npt.NDArray[np.float64]
    states: npt.NDArray[np.float64]


def evaluate(
    env: MetaWorldVectorEnv,
    actor: Network,
    episodes: int,
    stop: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Run ``episodes`` episodes of every task with tanh(mean) actions and deterministic routes.

    Args:
        env: built with ``evaluation=True``; it is reset, which starts its goals from the first.
        stop: asked at every step; when true, the evaluation is given up.

    Returns:
        The evaluation, or none if it was stopped.
    """
    parameter = next(actor.parameters())

    def decide(observations: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        seen = torch.from_numpy(observations).to(parameter).unsqueeze(1)
        with torch.no_grad():
            action: npt.NDArray[np.float32] = mean_action(actor(seen).value)[:, 0].cpu().numpy()
        return action

    evaluations = evaluate_all([env], decide, episodes, stop)
    return None if evaluations is None else evaluations[0]


def evaluate_all(
    envs: Sequence[MetaWorldVectorEnv],
    decide: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float32]],
    episodes: int,
    stop: Callable[[], bool] = lambda: False,
) -> list[Evaluation] | None:
    """Run ``episodes`` episodes of every task in several environments side by side, each with a policy of its own.

    Args:
        envs: as of :func:`evaluate`, equal but for the seed.
        decide: actions [env, task, 4] for observations [env, task, 39].
        stop: asked at every step; when true, the evaluations are given up.

    Returns:
        The evaluation of each, or none if they were stopped.
    """
    horizon, scale = envs[0].protocol.horizon, envs[0].protocol.reward_scale
    success = np.zeros((len(envs), envs[0].num_envs, episodes), dtype=np.bool_)
    returns = np.zeros((len(envs), envs[0].num_envs, episodes))
    states = []
    observations = np.stack([env.reset_arrays() for env in envs])
    for episode in range(episodes):
        for step in range(horizon):
            if stop():
                return None
            if step % OBSERVED_EVERY == 0:
                states.append(observations)
            for env, action in zip(envs, decide(observations), strict=True):
                env.begin_step(action)
            results = [env.end_step() for env in envs]
            observations = np.stack([result.observations for result in results])
            for place, result in enumerate(results):
                success[place, :, episode] |= result.successes
                returns[place, :, episode] += result.rewards / scale
    seen = np.stack(states, 1)
    return [Evaluation(*parts) for parts in zip(success, returns, seen, strict=True)]
