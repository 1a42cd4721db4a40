"""What a success rate is, on real Meta-World, against a plain loop over the gymnasium interface."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import torch

from d2r.config import load_protocol
from d2r.config.networks import RoutedConfig
from d2r.config.schema import OBSERVED_EVERY
from d2r.envs.vector import MetaWorldVectorEnv
from d2r.evaluation.success import evaluate
from d2r.networks.registry import build_actor

PROTOCOL = load_protocol("d2r-official").model_copy(update={"horizon": 40})
EPISODES = 2


def environment(benchmark: str) -> MetaWorldVectorEnv:
    return MetaWorldVectorEnv(benchmark, PROTOCOL, np.random.SeedSequence(4), evaluation=True)


def test_success_counts_at_any_step_and_returns_are_unscaled() -> None:
    config = RoutedConfig(num_modules=4, module_dim=8, encoder_dim=12, router_dim=10)
    actor = build_actor(config, 10, torch.Generator().manual_seed(0))
    with torch.no_grad():
        actor.head.weight.mul_(300)  # so that the arms move and something happens
    env = environment("mt10-rand")
    found = evaluate(env, actor, EPISODES)
    assert found is not None
    obs, _ = env.reset()
    success = np.zeros((10, EPISODES), bool)
    returns = np.zeros((10, EPISODES))
    for step in range(EPISODES * PROTOCOL.horizon):
        seen = torch.from_numpy(obs[:, :39]).float().view(1, 1, 10, 39)
        with torch.no_grad():
            mean = actor(seen).value[0, 0, :, :4]
        obs, reward, _, truncated, info = env.step(mean.tanh().numpy())
        episode = step // PROTOCOL.horizon
        success[:, episode] |= info["success"]
        returns[:, episode] += reward / PROTOCOL.reward_scale
        assert truncated.all() == ((step + 1) % PROTOCOL.horizon == 0)
    env.close()
    assert np.array_equal(found.success, success)
    assert np.allclose(found.returns, returns)
    assert found.states.shape == (EPISODES * PROTOCOL.horizon // OBSERVED_EVERY, 10, 39)


class Flashes:
    """Environments of which task 0 succeeds at one middle step of the second episode, and no other ever does."""

    protocol, num_envs = PROTOCOL, 10

    def __init__(self) -> None:
        self.steps = 0

    def reset_arrays(self) -> npt.NDArray[np.float64]:
        return np.zeros((10, 39))

    def begin_step(self, action: npt.NDArray[np.float32]) -> None:
        self.steps += 1

    def end_step(self) -> SimpleNamespace:
        successes = np.zeros(10, bool)
        successes[0] = self.steps == PROTOCOL.horizon + 7
        return SimpleNamespace(observations=np.zeros((10, 39)), rewards=np.zeros(10), successes=successes)


def test_success_at_a_single_step_is_the_episodes() -> None:
    sizes = RoutedConfig(num_modules=3, module_dim=8, encoder_dim=8, router_dim=8)
    found = evaluate(Flashes(), build_actor(sizes, 10, torch.Generator()), 3)
    assert found is not None
    assert found.success[0].tolist() == [False, True, False]
    assert not found.success[1:].any()


def test_an_evaluation_can_be_repeated_and_given_up() -> None:
    actor = build_actor(
        RoutedConfig(num_modules=3, module_dim=8, encoder_dim=8, router_dim=8), 10, torch.Generator()
    )
    env = environment("mt10-rand")
    first, second = evaluate(env, actor, 1), evaluate(env, actor, 1)
    assert first is not None
    assert second is not None
    assert np.array_equal(first.returns, second.returns)
    asked = iter(range(100))
    assert evaluate(env, actor, 1, lambda: next(asked) == 20) is None
    env.close()
