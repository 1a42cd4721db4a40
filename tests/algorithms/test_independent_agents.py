"""Single-task agents trained side by side never influence each other, not even through clipping or the loss mask."""

from __future__ import annotations

import torch

from d2r.algorithms.replay import Batch
from d2r.algorithms.sac import MultiTaskSAC
from d2r.config import load_method
from d2r.config.networks import IndependentConfig
from d2r.networks.registry import build_actor, build_critics
from tests.support.one_seed import one_seed

TASKS, SIZE = 3, 16


def learner():
    source = torch.Generator().manual_seed(0)
    network = IndependentConfig(hidden_dim=16)
    actor, critics = build_actor(network, TASKS, source), build_critics(network, TASKS, source)
    return MultiTaskSAC(actor, critics, load_method("sac").sac)


def batch(step, reward_of_others):
    source = torch.Generator().manual_seed(step)

    def draw(*shape):
        return torch.randn(SIZE, TASKS, *shape, generator=source)

    obs, next_obs, action, reward = draw(39), draw(39), draw(4).tanh(), draw()
    reward[:, 1:] *= reward_of_others
    return one_seed(Batch(obs, action, reward, next_obs, torch.zeros(SIZE, TASKS), None))


def trained(reward_of_others):
    agents, source = learner(), torch.Generator().manual_seed(1)
    masked = []
    for step in range(5):
        data = batch(step, reward_of_others)
        masked.append(agents.update(data, agents.draw(data, [source])).masked)
    return agents, torch.cat(masked)


def test_an_agent_does_not_depend_on_the_others_rewards():
    calm, _ = trained(1.0)
    wild, masked = trained(1e3)
    assert masked[:, 1:].any(), "the others' losses must be extreme enough to be masked"
    assert not masked[:, 0].any()
    for network in ("actor", "critics", "targets"):
        for (name, a), b in zip(
            getattr(calm, network).named_parameters(), getattr(wild, network).parameters(), strict=True
        ):
            assert torch.equal(a[:, 0], b[:, 0]), f"{network}.{name}"
    assert calm.log_alpha[0, 0] == wild.log_alpha[0, 0]
    assert not torch.equal(calm.critics.head.bias[:, 1:], wild.critics.head.bias[:, 1:])
