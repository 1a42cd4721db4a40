"""Multi-task SAC: what each trick does to an update."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor

from d2r.algorithms.gradients import clip_members
from d2r.algorithms.policy import mean_action, sample_action
from d2r.algorithms.replay import Batch
from d2r.algorithms.sac import Diverged, MultiTaskSAC, task_weights
from d2r.config import SacConfig
from d2r.config.networks import (
    IndependentConfig,
    MlpConfig,
    MultiHeadConfig,
    NetworkConfig,
    PacoConfig,
    RoutedConfig,
)
from d2r.networks.base import Output
from d2r.networks.registry import build_actor, build_critics
from d2r.networks.routing import DETERMINISTIC, RouteRule
from tests.support.one_seed import one_seed

TASKS, SIZE = 3, 16


def learner(config: NetworkConfig | None = None, **switches: Any) -> MultiTaskSAC:
    generator = torch.Generator().manual_seed(0)
    network = config or MlpConfig(hidden_dim=16)
    actor, critics = build_actor(network, TASKS, generator), build_critics(network, TASKS, generator)
    return MultiTaskSAC(actor, critics, SacConfig(**switches))


def batch(reward: float = 1.0, **changes: Tensor) -> Batch:
    generator = torch.Generator().manual_seed(1)
    made = Batch(
        torch.randn(SIZE, TASKS, 39, generator=generator),
        torch.rand(SIZE, TASKS, 4, generator=generator) * 2 - 1,
        torch.full((SIZE, TASKS), reward),
        torch.randn(SIZE, TASKS, 39, generator=generator),
        torch.zeros(SIZE, TASKS),
        None,
    )
    return one_seed(made._replace(**changes))


def update(sac: MultiTaskSAC, data: Batch) -> Any:
    return sac.update(data, sac.draw(data, [torch.Generator().manual_seed(2)]))


def parameters(sac: MultiTaskSAC) -> Tensor:
    return torch.cat([p.detach().flatten() for n in (sac.actor, sac.critics) for p in n.parameters()])


def test_log_probability_is_that_of_the_squashed_gaussian() -> None:
    """Against torch's own change of variables; they differ by the official 1e-6 only."""
    output = torch.randn(50, 8, generator=torch.Generator().manual_seed(0)).double()
    noise = torch.randn(50, 4, generator=torch.Generator().manual_seed(1)).double()
    action, log_prob = sample_action(output, noise)
    mean, log_std = output[:, :4], output[:, 4:].clamp(-20, 2)
    squashed = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean, log_std.exp()), torch.distributions.TanhTransform(cache_size=1)
    )
    raw = mean + log_std.exp() * noise
    expected = squashed.log_prob(raw.tanh()).sum(-1)
    assert torch.allclose(action, raw.tanh())
    unsaturated = (action.abs() < 0.99).all(-1)
    assert unsaturated.sum() > 10
    assert torch.allclose(log_prob[unsaturated], expected[unsaturated], atol=1e-3)
    torch.testing.assert_close(mean_action(output), mean.tanh())


def test_task_weights_are_inverse_temperatures_with_mean_one() -> None:
    log_alpha = torch.tensor([0.0, -1.0, -2.0, -7.0])
    weights = task_weights(log_alpha)
    assert weights.mean().item() == pytest.approx(1.0)
    assert torch.allclose(weights * log_alpha.exp(), (weights * log_alpha.exp())[0].expand(4))


def test_temperature_never_exceeds_its_cap_and_has_its_own_rate() -> None:
    sac = learner(target_entropy=4.0, lr_alpha=0.01)
    for _ in range(5):
        update(sac, batch())
    assert (sac.log_alpha == 0).all(), "entropy below target pushes alpha up, and the cap holds it"
    sac = learner(target_entropy=-40.0, lr_alpha=0.01)
    update(sac, batch())
    assert torch.allclose(sac.log_alpha, torch.full((1, TASKS), -0.01), atol=1e-6), (
        "Adam's first step is its rate"
    )


def test_a_task_with_an_extreme_loss_is_left_out_and_the_others_are_not() -> None:
    data = batch()
    data.reward[0, :, 1] = 1e4
    sac, same = learner(), learner()
    info = update(sac, data)
    assert info.masked.tolist() == [[False, True, False]]
    before = parameters(same)
    alone = data._replace(reward=torch.where(torch.tensor([False, True, False]), 1e5, data.reward))
    update(same, alone)
    assert torch.equal(parameters(sac), parameters(same)), "how extreme the masked loss is does not matter"
    assert not torch.equal(parameters(sac), before)
    assert sac.log_alpha[0, 1] == 0
    assert (sac.log_alpha[0, [0, 2]] != 0).all()
    assert not update(learner(task_loss_threshold=None), data).masked.any()


@pytest.mark.parametrize("reset", [True, False])
def test_paco_resets_the_combination_of_a_task_that_was_left_out(reset: bool) -> None:
    """Its weights become a mixture of the two other tasks' in the actor and in each critic; theirs stay."""
    sac = learner(PacoConfig(num_sets=3, hidden_dim=16, reset_masked=reset))
    networks = (sac.actor, sac.critics)
    before = torch.cat([network.composition.detach() for network in networks])
    data = batch()
    data.reward[0, :, 1] = 1e4
    assert update(sac, data).masked.tolist() == [[False, True, False]]
    after = torch.cat([network.composition.detach() for network in networks])
    step = 1.01 * max(sac.config.lr_actor, sac.config.lr_critic)  # Adam's first step is its rate
    moved = (after - before).abs().amax(-1)
    assert (moved[:, [0, 2]] <= step).all()
    if not reset:
        assert (moved[:, 1] <= step).all()
        return
    assert (moved[:, 1] > 10 * step).all()
    for first, mixed, last in after:
        share = (mixed - last) @ (first - last) / (first - last).square().sum()
        assert 0 <= share <= 1
        torch.testing.assert_close(mixed, share * first + (1 - share) * last, rtol=1e-5, atol=1e-5)


def test_each_network_is_clipped_on_its_own() -> None:
    sac = learner(grad_clip=0.05, task_loss_threshold=None)
    data = batch(reward=100.0)
    info = update(sac, data)
    assert (info.critic_norm > 0.05).all()
    assert info.critic_norm.shape == (1, 2)
    for member in range(2):
        norm = math.sqrt(sum(float(p.grad[member].square().sum()) for p in sac.critics.parameters()))
        assert norm == pytest.approx(0.05, rel=1e-3)


def norms(parameters: Iterable[Tensor], axes: int) -> Tensor:
    """Joint norm of the gradients, told apart by their leading ``axes``."""
    squares = [p.grad.flatten(axes).square().sum(-1) for p in parameters if p.grad is not None]
    return torch.stack(squares).sum(0).sqrt()


def test_the_actor_and_the_temperatures_are_clipped_each_on_their_own() -> None:
    bound = 1e-3
    sac = learner(grad_clip=bound, target_entropy=-40.0)
    info = update(sac, batch())
    assert info.actor_norm > bound
    assert info.alpha_norm > bound
    assert norms(sac.actor.parameters(), 1).tolist() == pytest.approx([bound], rel=0.01)
    assert sac.log_alpha.grad.norm().item() == pytest.approx(bound, rel=0.01)


def test_each_agent_is_clipped_on_its_own() -> None:
    """Its actor, each of its critics and its temperature all reach the bound, however large the others are."""
    bound = 1e-3
    sac = learner(
        IndependentConfig(hidden_dim=16),
        clip_per="task",
        task_weights="uniform",
        grad_clip=bound,
        target_entropy=-40.0,
        task_loss_threshold=None,
    )
    data = batch()
    data.reward[0, :, 1] = 100.0
    info = update(sac, data)
    own_loss = (info.losses.log_prob - 40.0).abs()
    torch.testing.assert_close(info.alpha_norm, own_loss, msg="an agent's loss is not averaged with others'")
    for network, members in ((sac.actor, 1), (sac.critics, 2)):
        torch.testing.assert_close(
            norms(network.parameters(), 2), torch.full((members, TASKS), bound), rtol=0.01, atol=0.0
        )
    torch.testing.assert_close(sac.log_alpha.grad.abs(), torch.full((1, TASKS), bound), rtol=0.01, atol=0.0)


def test_clipping_leaves_small_gradients_alone() -> None:
    parameter = torch.zeros(2, 3, requires_grad=True)
    parameter.grad = torch.tensor([[0.1, 0.2, 0.2], [30.0, 0.0, 40.0]])
    norms = clip_members([parameter], 1.0)
    assert norms.tolist() == pytest.approx([0.3, 50.0])
    assert torch.allclose(parameter.grad, torch.tensor([[0.1, 0.2, 0.2], [0.6, 0.0, 0.8]]), atol=1e-6)


def test_terminal_transitions_do_not_bootstrap() -> None:
    """With all transitions terminal the target is the reward, so the next observation does not matter."""
    ends = torch.ones(SIZE, TASKS)
    other = torch.randn(SIZE, TASKS, 39)
    for terminal, matters in ((ends, False), (torch.zeros(SIZE, TASKS), True)):
        one, two = learner(), learner()
        update(one, batch(terminal=terminal))
        update(two, batch(terminal=terminal, next_obs=other))
        assert torch.equal(parameters(one), parameters(two)) != matters


def test_the_next_action_is_the_one_for_the_next_observation() -> None:
    """With targets that see only the action, the next observation matters, and the current one does not."""

    def only_action(x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        return Output(x[..., 39:].sum(-1, keepdim=True).expand(2, -1, -1, -1))

    def always_zero(x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        return Output(torch.zeros(2, *x.shape[1:-1], 1))

    sac = learner()
    draws = sac.draw(batch(), [torch.Generator().manual_seed(2)])
    sac.targets, sac.critics = only_action, always_zero

    def td_loss(data: Batch) -> Tensor:
        return sac.critic_losses(data, draws, sac.alpha, sac.loss_weights())

    other = torch.randn(SIZE, TASKS, 39, generator=torch.Generator().manual_seed(3))
    assert torch.equal(td_loss(batch(obs=other)), td_loss(batch()))
    assert (td_loss(batch(next_obs=other)) != td_loss(batch())).all()


def test_target_and_policy_loss_take_the_smaller_of_the_two_critics() -> None:
    """Two critics that disagree count as much as two that both give the smaller value, sample by sample."""
    values = torch.randn(2, SIZE, TASKS, 1, generator=torch.Generator().manual_seed(3))
    smaller = values.amin(0, keepdim=True).expand_as(values)
    assert (values[0] < values[1]).any()
    assert (values[1] < values[0]).any()
    sac = learner()
    draws = sac.draw(batch(), [torch.Generator().manual_seed(2)])
    sac.critics = lambda x, rule=DETERMINISTIC: Output(torch.zeros(2, SIZE, TASKS, 1))

    def td_loss(answer: Tensor) -> Tensor:
        sac.targets = lambda x, rule=DETERMINISTIC: Output(answer)
        return sac.critic_losses(batch(), draws, sac.alpha, sac.loss_weights())

    def policy_loss(answer: Tensor) -> Tensor:
        sac.critics = lambda x, rule=DETERMINISTIC: Output(answer)
        return sac.policy_loss(batch(), draws, sac.alpha, sac.loss_weights())[0]

    for loss in (td_loss, policy_loss):
        torch.testing.assert_close(loss(values), loss(smaller))
        assert (loss(values) != loss(values[:1].expand_as(values))).all()


def test_td_target_is_the_reward_and_the_discounted_value_with_its_entropy() -> None:
    sac = learner(discount=0.9, task_weights="uniform")
    with torch.no_grad():
        sac.log_alpha.copy_(torch.tensor([0.0, -0.5, -2.0]))
    data = batch(reward=2.0)
    draws = sac.draw(data, [torch.Generator().manual_seed(2)])
    sac.critics = lambda x, rule=DETERMINISTIC: Output(torch.zeros(2, SIZE, TASKS, 1))
    sac.targets = lambda x, rule=DETERMINISTIC: Output(torch.full((2, SIZE, TASKS, 1), 5.0))
    loss = sac.critic_losses(data, draws, sac.alpha, sac.loss_weights())
    _, log_prob = sample_action(sac.actor(data.next_obs).value, draws.next_noise)
    for task, alpha in enumerate((1.0, math.exp(-0.5), math.exp(-2.0))):
        target = 2.0 + 0.9 * (5.0 - alpha * log_prob[0, :, task])
        torch.testing.assert_close(loss[0, :, task], target.square().mean().expand(2))


def test_targets_move_slowly_towards_the_critics() -> None:
    sac = learner(target_tau=0.1)
    before = [t.clone() for t in sac.targets.parameters()]
    update(sac, batch())
    for old, target, critic in zip(before, sac.targets.parameters(), sac.critics.parameters(), strict=True):
        assert torch.allclose(target, old + 0.1 * (critic - old), atol=1e-7)
        assert target.grad is None


def test_policy_loss_leaves_no_gradient_in_the_critics() -> None:
    sac = learner()
    losses = sac.losses(batch(), sac.draw(batch(), [torch.Generator().manual_seed(2)]))
    losses.policy.sum().backward()
    assert all(p.grad is None for p in sac.critics.parameters())
    assert all(p.grad is not None for p in sac.actor.parameters())
    assert all(p.requires_grad for p in sac.critics.parameters())


@pytest.mark.parametrize("where", ["reward", "obs"])
def test_numbers_that_go_wrong_stop_before_anything_changes(where: str) -> None:
    data = batch()
    getattr(data, where)[0, 3, 2] = float("nan")
    sac = learner()
    before = parameters(sac)
    with pytest.raises(Diverged) as diverged:
        update(sac, data)
    assert diverged.value.wrong[0].task == 2
    assert torch.equal(parameters(sac), before)
    assert (sac.log_alpha == 0).all()


def test_independent_agents_do_not_touch_each_other() -> None:
    """Changing one task's data changes that agent's parameters and temperature, and no other's."""
    data = batch()
    changed = batch()
    changed.obs[0, :, 1] += 1.0
    one, two = (
        learner(IndependentConfig(hidden_dim=16), clip_per="task", task_weights="uniform") for _ in range(2)
    )
    update(one, data)
    update(two, changed)
    for a, b in zip(one.actor.parameters(), two.actor.parameters(), strict=True):
        assert torch.equal(a[:, [0, 2]], b[:, [0, 2]])
        assert not torch.equal(a[:, 1], b[:, 1])


def test_gradient_surgery_changes_networks_and_not_temperatures() -> None:
    plain, surgery = (
        learner(MultiHeadConfig(hidden_dim=16), gradient_surgery=kind) for kind in ("none", "pcgrad")
    )
    update(plain, batch())
    update(surgery, batch())
    torch.testing.assert_close(plain.log_alpha, surgery.log_alpha)
    assert not torch.equal(parameters(plain), parameters(surgery))


def test_same_draws_same_bytes() -> None:
    config = RoutedConfig(num_modules=5, module_dim=8, encoder_dim=12, router_dim=10)
    one, two = learner(config), learner(config)
    for _ in range(3):
        update(one, batch())
        update(two, batch())
    assert torch.equal(parameters(one), parameters(two))


def test_state_is_everything_that_an_update_reads() -> None:
    config = RoutedConfig(num_modules=5, module_dim=8, encoder_dim=12, router_dim=10)
    one, two = learner(config), learner(config)
    for _ in range(3):
        update(one, batch())
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    for _ in range(2):
        update(one, batch())
        update(two, batch())
    assert torch.equal(parameters(one), parameters(two))
    assert torch.equal(one.log_alpha, two.log_alpha)
