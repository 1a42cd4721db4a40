"""Multi-task Soft Actor-Critic with D2R's two mechanisms, one whole update from top to bottom.

Soft Actor-Critic: Haarnoja et al., arXiv 1812.05905. What is multi-task, and each trick, follows the
official D2R code (``torchrl/algo/mt_sac.py``), whose own sources are named beside it:

- one temperature alpha per task, log alpha <= 0, its loss on log alpha with its own learning rate;
- task weights n * softmax(-log alpha) on actor and critic losses (Soft Modularization, Yang et al., NeurIPS
  2020; its paper prints exp(-alpha), both codes have -log alpha: docs/deviations.md, L5);
- a task whose summed loss exceeds 3000 is left out of the update (PaCo, Sun et al., NeurIPS 2022);
- gradients are clipped to norm 1 separately for the actor, each critic and the log-alphas;
- the actor's route in the policy loss is the stored behaviour route, the critics draw theirs anew in the TD
  loss, and everything else takes the deterministic route (paper section 3.2);
- route balancing (paper section 3.3): the temperature of route sampling is tau_T = n * softmax(-log alpha)_T.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from d2r.algorithms.adam import Adam
from d2r.algorithms.pcgrad import pcgrad
from d2r.algorithms.policy import sample_action
from d2r.algorithms.prepare import compiled
from d2r.algorithms.recorded import CudaGraphs, Halves, RecordedUpdate
from d2r.algorithms.replay import Batch
from d2r.config import SacConfig
from d2r.config.execution import PLAIN, Execution
from d2r.errors import UserError
from d2r.networks.base import Network
from d2r.networks.routing import DETERMINISTIC, Replayed, RouteRule, Sampled

CLIP_EPSILON = 1e-6


class Diverged(Exception):
    """A loss or gradient is no longer a number; the learner is as it was before the update."""

    def __init__(self, quantity: str, task: int | None):
        super().__init__(quantity)
        self.quantity, self.task = quantity, task


class Draws(NamedTuple):
    """All that is random in one update, drawn before it.

    Attributes:
        actor_noise, next_noise: [batch, task, 4] standard normal.
        actor_rule: route of the actor in the policy loss.
        critic_rule: route of both critics in the TD loss.
        generator: for what only some methods draw: the order of PCGrad's projections, PaCo's resets.
    """

    actor_noise: Tensor
    next_noise: Tensor
    actor_rule: RouteRule
    critic_rule: RouteRule
    generator: torch.Generator


class Losses(NamedTuple):
    """Losses of each task, averaged over its transitions and weighted, before the extreme-loss mask.

    Attributes:
        alpha, policy: [task]; critics: [2, task]; log_prob: [task], mean log pi of the new actions.
    """

    alpha: Tensor
    policy: Tensor
    critics: Tensor
    log_prob: Tensor

    @property
    def of_task(self) -> Tensor:
        """The summed loss of each task, [task], which the mask looks at."""
        return self.alpha + self.policy + self.critics.sum(0)


class UpdateInfo(NamedTuple):
    """What one update reports: its losses, which tasks were masked [task], and gradient norms before clipping."""

    losses: Losses
    masked: Tensor
    actor_norm: Tensor
    critic_norm: Tensor
    alpha_norm: Tensor


CriticLosses = Callable[[Batch, Draws, Tensor, Tensor], Tensor]
PolicyLoss = Callable[[Batch, Draws, Tensor, Tensor], tuple[Tensor, Tensor]]


def task_weights(log_alpha: Tensor) -> Tensor:
    """n * softmax(-log alpha), proportional to 1/alpha with mean 1: loss weights and, by route balancing, tau."""
    return log_alpha.shape[0] * torch.softmax(-log_alpha.detach(), 0)


class MultiTaskSAC:
    """Actor, twin critics with targets, temperatures, and the optimiser that moves them.

    Args:
        actor: an ensemble of one, [1, batch, task, 39] to [1, batch, task, 8].
        critics: an ensemble of two, [1, batch, task, 43] to [2, batch, task, 1].
        execution: how updates are executed.

    Raises:
        UserError: if these networks, this configuration and this execution do not go together.
    """

    def __init__(self, actor: Network, critics: Network, config: SacConfig, execution: Execution = PLAIN):
        if config.clip_per == "task" and actor.task_axis != 1:
            raise UserError(
                "sac: clip_per: task needs a network whose tasks share no parameter; use type: independent"
            )
        if execution.graph and config.gradient_surgery == "pcgrad":
            raise UserError(
                "--graph: pcgrad projects gradients on the host, in an order drawn anew at every update, "
                "which no recording can repeat; leave it out"
            )
        self.config, self.execution = config, execution
        if execution.compile:
            actor.prepare_to_compile()
            critics.prepare_to_compile()
        self.actor, self.critics = actor.train(), critics.train()
        self.targets = copy.deepcopy(critics).requires_grad_(False)
        # found once: looking for them in the modules takes a small network a noticeable part of an update
        self._of_actor: list[Tensor] = list(actor.parameters())
        self._of_critics: list[Tensor] = list(critics.parameters())
        self._of_targets: list[Tensor] = list(self.targets.parameters())
        parameter = self._of_actor[0]
        self.log_alpha = torch.zeros(
            actor.num_tasks, dtype=parameter.dtype, device=parameter.device, requires_grad=True
        )
        self.optimiser = Adam(
            [
                (self._of_actor, config.lr_actor),
                (self._of_critics, config.lr_critic),
                ([self.log_alpha], config.lr_alpha),
            ]
        )
        self._loss_parts = (self.critic_losses, self.policy_loss)
        if execution.compile:
            self._loss_parts = (compiled(self.critic_losses), compiled(self.policy_loss))
        self._recorded = RecordedUpdate(self, CudaGraphs()) if execution.graph else None

    @property
    def alpha(self) -> Tensor:
        """Temperature of each task, [task], detached."""
        return self.log_alpha.detach().exp()

    @property
    def route_temperature(self) -> Tensor:
        """tau of each task, [task]; 1 for all without route balancing."""
        if self.config.route_balancing:
            return task_weights(self.log_alpha)
        return torch.ones_like(self.log_alpha.detach())

    def sampled(self, network: Network, batch: int, generator: torch.Generator) -> RouteRule:
        """A rule that draws the routes of ``network`` for [batch, task] states at the current route temperatures."""
        if network.num_logits == 0:
            return DETERMINISTIC
        shape = (network.ensemble, network.num_logits, batch, network.num_tasks)
        uniform = torch.rand(shape, generator=generator).clamp_(
            min=torch.finfo(torch.float32).tiny
        )  # rand may be 0
        gumbel = uniform.log_().neg_().log_().neg_().to(self.log_alpha)
        return Sampled(self.route_temperature, gumbel.permute(0, 2, 3, 1))

    def draw(self, batch: Batch, generator: torch.Generator) -> Draws:
        """Draw an update's randomness for ``batch``."""
        size, tasks, actions = batch.action.shape
        noise = torch.randn(2, size, tasks, actions, generator=generator).to(self.log_alpha)
        if batch.sources is not None and self.config.policy_route == "stored":
            actor_rule: RouteRule = Replayed(batch.sources.unsqueeze(0))
        else:
            actor_rule = self.sampled(self.actor, size, generator)
        critic_rule: RouteRule = DETERMINISTIC
        if self.config.critic_route == "sampled":
            critic_rule = self.sampled(self.critics, size, generator)
        return Draws(noise[0], noise[1], actor_rule, critic_rule, generator)

    def update(self, batch: Batch, draws: Draws) -> UpdateInfo:
        """Make one gradient step of everything.

        Raises:
            Diverged: if a loss or gradient is not finite; nothing has been changed then.
        """
        halves: Halves = self if self._recorded is None else self._recorded
        info = halves.compute(batch, draws)
        self.check(info)
        halves.apply()
        if bool(info.masked.any()):
            with torch.no_grad():
                self.actor.after_update(info.masked, draws.generator)
                self.critics.after_update(info.masked, draws.generator)
        return info

    def compute(self, batch: Batch, draws: Draws) -> UpdateInfo:
        """First half of an update: losses, mask, and clipped gradients, which stay in the parameters."""
        losses = self._losses(batch, draws, *self._loss_parts)
        masked = self.mask(losses)
        self.optimiser.zero_grad()
        self.backward(losses, masked, draws.generator)
        return UpdateInfo(losses, masked, *self.clip())

    def apply(self) -> None:
        """Second half: move parameters along the gradients, and the targets towards the critics."""
        self.optimiser.step()
        with torch.no_grad():
            if self.config.max_log_alpha is not None:
                self.log_alpha.clamp_(max=self.config.max_log_alpha)
            torch._foreach_lerp_(self._of_targets, self._of_critics, self.config.target_tau)

    def sizes_changed(self) -> None:
        """To be called when a network has grown: what was recorded of the smaller one is of no use."""
        if self._recorded is not None:
            self._recorded.forget()

    def losses(self, batch: Batch, draws: Draws) -> Losses:
        """Losses of each task, from the parameters and temperatures before the update; never compiled."""
        return self._losses(batch, draws, self.critic_losses, self.policy_loss)

    def _losses(self, batch: Batch, draws: Draws, of_critics: CriticLosses, of_policy: PolicyLoss) -> Losses:
        alpha, weight = self.alpha, self.loss_weights()
        critic_losses = of_critics(batch, draws, alpha, weight)
        with frozen(self._of_critics):
            policy_loss, mean_log_prob = of_policy(batch, draws, alpha, weight)
        alpha_loss = -self.log_alpha * (mean_log_prob + self.config.target_entropy)
        return Losses(alpha_loss, policy_loss, critic_losses, mean_log_prob)

    def critic_losses(self, batch: Batch, draws: Draws, alpha: Tensor, weight: Tensor) -> Tensor:
        """TD losses of both critics, [2, task], weighted by ``weight`` [task]."""
        next_obs = batch.next_obs.unsqueeze(0)
        with torch.no_grad():
            next_action, next_log_prob = sample_action(self.value(self.actor, next_obs), draws.next_noise)
            next_value = self.value(self.targets, torch.cat([next_obs, next_action], -1))
            soft_value = next_value.squeeze(-1).amin(0) - alpha * next_log_prob.squeeze(0)
            target = batch.reward + self.config.discount * (1 - batch.terminal) * soft_value
        taken = torch.cat([batch.obs, batch.action], -1).unsqueeze(0)
        value = self.value(self.critics, taken, draws.critic_rule).squeeze(-1)
        return weight * (value - target).square().mean(1)

    def policy_loss(self, batch: Batch, draws: Draws, alpha: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Policy loss weighted by ``weight``, and the mean log pi of its actions, detached; all [task].

        The critics have to be frozen meanwhile.
        """
        obs = batch.obs.unsqueeze(0)
        action, log_prob = sample_action(self.value(self.actor, obs, draws.actor_rule), draws.actor_noise)
        new_value = self.value(self.critics, torch.cat([obs, action], -1)).squeeze(-1).amin(0)
        log_prob = log_prob.squeeze(0)
        loss = weight * (alpha * log_prob - new_value).mean(0)
        return loss, log_prob.detach().mean(0)

    def value(self, network: Network, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Tensor:
        """What ``network`` answers, computed in the execution's precision, returned in that of ``x``."""
        if self.execution.autocast == "none":
            plain: Tensor = network(x, rule).value
            return plain
        # no cache of cast weights: each is cast once in here anyway, and some without gradients
        with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False):
            value: Tensor = network(x, rule).value
        return value.to(x.dtype)

    def loss_weights(self) -> Tensor:
        """Weight of each task's actor and critic losses, [task], detached."""
        match self.config.task_weights:
            case "softmax":
                return task_weights(self.log_alpha)
            case "softmax-alpha":
                return len(self.log_alpha) * torch.softmax(-self.alpha, 0)
            case "uniform":
                return torch.ones_like(self.alpha)

    def mask(self, losses: Losses) -> Tensor:
        """Tasks left out of this update, [task] boolean: those whose summed loss is extreme."""
        if self.config.task_loss_threshold is None:
            return torch.zeros_like(losses.alpha, dtype=torch.bool)
        return losses.of_task.detach() > self.config.task_loss_threshold

    def backward(self, losses: Losses, masked: Tensor, generator: torch.Generator) -> None:
        """Put gradients of the mean unmasked task loss into every parameter.

        Independent agents (``clip_per: task``) have nothing to average: each gets the gradient of its own
        loss.
        """
        kept = torch.where(masked, 0.0, losses.of_task)
        if self.config.clip_per == "network":
            kept = kept / len(kept)
        if self.config.gradient_surgery == "none":
            kept.sum().backward()  # type: ignore[no-untyped-call]
            return
        kept.sum().backward(retain_graph=True, inputs=[self.log_alpha])  # type: ignore[no-untyped-call]
        for parameters in (self._of_actor, self._of_critics):
            operate(parameters, kept, generator)

    def clip(self) -> tuple[Tensor, Tensor, Tensor]:
        """Clip the gradient of the actor, of each critic and of the log-alphas; return the norms before."""
        bound = self.config.grad_clip
        actor, critics = self._of_actor, self._of_critics
        if self.config.clip_per == "task":
            return (
                clip_members(actor, bound, axes=2),
                clip_members(critics, bound, axes=2),
                clip_members([self.log_alpha], bound, axes=1),
            )
        return (
            clip_members(actor, bound),
            clip_members(critics, bound),
            clip_members([self.log_alpha], bound, axes=0),
        )

    def check(self, info: UpdateInfo) -> None:
        """Raise :class:`Diverged` unless every loss and gradient norm is finite."""
        norms = torch.cat([info.actor_norm.flatten(), info.critic_norm.flatten(), info.alpha_norm.flatten()])
        per_task = info.losses.of_task.detach()
        if bool(torch.isfinite(norms.sum() + per_task.sum())):  # one number to wait for, nearly always
            return
        if bool(norms.isfinite().all() & per_task.isfinite().all()):  # only the sum was too large
            return
        bad = (~torch.isfinite(per_task)).nonzero()
        raise Diverged("loss" if len(bad) else "gradient", int(bad[0]) if len(bad) else None)

    def state_dict(self) -> dict[str, Any]:
        """Everything that an update reads or writes."""
        return {
            "actor": self.actor.state_dict(),
            "critics": self.critics.state_dict(),
            "targets": self.targets.state_dict(),
            "log_alpha": self.log_alpha.detach(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.actor.load_state_dict(state["actor"])
        self.critics.load_state_dict(state["critics"])
        self.targets.load_state_dict(state["targets"])
        with torch.no_grad():
            self.log_alpha.copy_(state["log_alpha"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self._recorded is not None:
            self._recorded.forget()


@contextmanager
def frozen(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Within, their network is a fixed function: gradients flow to its input, none into its parameters."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def clip_members(parameters: Sequence[Tensor], bound: float, axes: int = 1) -> Tensor:
    """Scale gradients so that the global norm of each member is at most ``bound``.

    Args:
        axes: leading axes that tell members apart: 1 for [ensemble, ...], 2 for [ensemble, task, ...], 0 if
        all are one.

    Returns:
        The norms before clipping, [ensemble], [ensemble, task] or [].
    """
    moved = [p for p in parameters if p.grad is not None]
    gradients = [p.grad for p in moved if p.grad is not None]
    squares = torch._foreach_mul(gradients, gradients)  # noqa: SLF001 -- as PyTorch's optimisers do
    norm = torch.stack([s.reshape(*s.shape[:axes], -1).sum(-1) for s in squares]).sum(0).sqrt()
    factor = (bound / (norm + CLIP_EPSILON)).clamp(max=1.0)
    factors = [factor.view(*factor.shape, *[1] * (g.dim() - axes)) for g in gradients]
    # not in place: autograd may hand two parameters views of one buffer, which would be scaled twice
    scaled = torch._foreach_mul(gradients, factors)  # noqa: SLF001
    for parameter, clipped in zip(moved, scaled, strict=True):
        parameter.grad = clipped
    return norm


def operate(parameters: Sequence[Tensor], task_losses: Tensor, generator: torch.Generator) -> None:
    """Replace a network's gradients by PCGrad's combination of its per-task gradients, member by member.

    Args:
        parameters: with the ensemble as first axis.
        task_losses: [task], with their graph.
    """
    of_task = []
    for loss in task_losses:
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        of_task.append(torch.cat([g.flatten(1) for g in gradients], 1))
    combined = pcgrad(torch.stack(of_task, 1), generator)
    sizes = [p[0].numel() for p in parameters]
    for parameter, gradient in zip(parameters, torch.split(combined, sizes, 1), strict=True):
        parameter.grad = gradient.reshape(parameter.shape)
