"""Multi-task Soft Actor-Critic with D2R's two mechanisms, one whole update from top to bottom.

Soft Actor-Critic: Haarnoja et al., arXiv 1812.05905. What is multi-task, and each trick, follows the
official D2R code (``torchrl/algo/mt_sac.py``), whose own sources are named beside it:

- one temperature alpha per task, log alpha <= 0, its loss on log alpha with its own learning rate;
- task weights n * softmax(-log alpha) on actor and critic losses (Soft Modularization, Yang et al., NeurIPS
  2020; its paper prints exp(-alpha), both codes have -log alpha: docs/protocols.md, L5);
- a task whose summed loss exceeds 3000 is left out of the update (PaCo, Sun et al., NeurIPS 2022);
- gradients are clipped to norm 1 separately for the actor, each critic and the log-alphas;
- the actor's route in the policy loss is the stored behaviour route, the critics draw theirs anew in the TD
  loss, and everything else takes the deterministic route (paper section 3.2);
- route balancing (paper section 3.3): the temperature of route sampling is tau_T = n * softmax(-log alpha)_T.

Several seeds may learn side by side, one the ordinary case. Everything has the seed as its first axis, and no seed's
numbers reach another's: networks are stacked (``members.py``); losses, mask, clipping and Adam are a seed's own.
``execution/`` compiles and records an update from outside.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from d2r.algorithms.adam import Adam
from d2r.algorithms.adapting import Adaptation, Kept
from d2r.algorithms.draws import Draws, Streams, gumbel, normal
from d2r.algorithms.gradients import frozen, operate
from d2r.algorithms.members import alone, for_members, load_state_of, side_by_side, state_of
from d2r.algorithms.policy import sample_action
from d2r.algorithms.replay import Batch
from d2r.algorithms.targets import Targets
from d2r.config import SacConfig
from d2r.errors import UserError
from d2r.networks.base import Network
from d2r.networks.routing import DETERMINISTIC, Replayed, RouteRule, Sampled


class NotFinite(NamedTuple):
    """What of a seed is no longer a number, and of which task if that is known."""

    quantity: str
    task: int | None


class Diverged(Exception):
    """A loss or gradient is no longer a number; the learner is as it was before the update.

    Attributes:
        wrong: what it is, by the place of the seed; of the others all is well.
        info: of the update, whose second half may still be made: what is wrong stays with its seed.
    """

    def __init__(self, wrong: dict[int, NotFinite], info: UpdateInfo):
        super().__init__(next(iter(wrong.values())).quantity)
        self.wrong, self.info = wrong, info


class Losses(NamedTuple):
    """Losses of each task, averaged over its transitions and weighted, before the extreme-loss mask.

    Attributes:
        alpha, policy: [seed, task]; critics: [seed, 2, task]; log_prob: [seed, task], mean log pi of the new actions.
    """

    alpha: Tensor
    policy: Tensor
    critics: Tensor
    log_prob: Tensor

    @property
    def of_task(self) -> Tensor:
        """The summed loss of each task, [seed, task], which the mask looks at."""
        return self.alpha + self.policy + self.critics.sum(1)


class UpdateInfo(NamedTuple):
    """What one update reports: losses, masked tasks [seed, task], and gradient norms before clipping.

    Attributes:
        actor_norm, alpha_norm: [seed], critic_norm: [seed, 2]; of independent agents with the task as last axis.
    """

    losses: Losses
    masked: Tensor
    actor_norm: Tensor
    critic_norm: Tensor
    alpha_norm: Tensor

    def detached(self) -> UpdateInfo:
        """The same numbers without their graph."""
        return UpdateInfo(Losses(*(t.detach() for t in self.losses)), *(t.detach() for t in self[1:]))

    @torch.no_grad()
    def flags(self) -> Tensor:
        """Whether the sum of all that has to be finite is, and whether a task was masked, [2, seed] boolean."""
        losses = (self.losses.alpha, self.losses.policy, self.losses.critics)
        numbers = (*losses, self.actor_norm, self.critic_norm, self.alpha_norm)
        whole = torch.cat([number.reshape(len(number), -1) for number in numbers], 1).sum(1)
        finite = whole - whole == 0  # quicker than to ask whether it is
        return torch.stack([finite, self.masked.any(1)])


def task_weights(log_alpha: Tensor) -> Tensor:
    """n * softmax(-log alpha), proportional to 1/alpha with mean 1: loss weights and, by route balancing, tau.

    Args:
        log_alpha: [..., task].
    """
    return log_alpha.shape[-1] * torch.softmax(-log_alpha.detach(), -1)


class MultiTaskSAC:
    """Actor, twin critics with targets, temperatures, and the optimiser that moves them, of one seed or several.

    Args:
        actor: an ensemble of S seeds, [S, batch, task, 39] to [S, batch, task, 8].
        critics: an ensemble of 2S, [2S, batch, task, 43] to [2S, batch, task, 1], the twins of a seed side by side.
        autocast: whether networks answer in bf16.
        adaptation: what alone learns of networks that were trained before; none: everything.

    Raises:
        UserError: if these networks and this configuration do not go together.
    """

    def __init__(
        self,
        actor: Network,
        critics: Network,
        config: SacConfig,
        autocast: bool = False,
        adaptation: Adaptation | None = None,
    ):
        if config.clip_per == "task" and actor.task_axis != 1:
            raise UserError(
                "sac: clip_per: task needs a network whose tasks share no parameter; use type: independent"
            )
        self.config, self.autocast, self.seeds = config, autocast, actor.ensemble
        self.actor, self.critics = actor.train(), critics.train()
        self.targets = copy.deepcopy(critics).requires_grad_(False)
        self.adaptation = adaptation
        self._kept = [] if adaptation is None else [Kept(net, adaptation) for net in (actor, critics)]
        # found once: looking for them in the modules takes a small network a noticeable part of an update
        self._of_actor: list[Tensor] = list(actor.parameters())
        self._of_critics: list[Tensor] = list(critics.parameters())
        self._following = Targets(list(self.targets.parameters()), self._of_critics, self.seeds)
        parameter = self._of_actor[0]
        self.log_alpha = torch.zeros(
            self.seeds, actor.num_tasks, dtype=parameter.dtype, device=parameter.device, requires_grad=True
        )
        self.optimiser = Adam(
            [
                (self._of_actor, config.lr_actor, 1),
                (self._of_critics, config.lr_critic, 2),
                ([self.log_alpha], config.lr_alpha, 0),
            ],
            2 if config.clip_per == "task" else 1,
        )

    def update(self, batch: Batch, draws: Draws) -> UpdateInfo:
        """Make one gradient step of everything.

        Raises:
            Diverged: if a loss or gradient is not finite; nothing has been changed then.
        """
        info = self.compute(batch, draws)
        masked = self.check(info, info.flags())
        self.apply()
        if masked:
            self.after_update(info, draws.streams)
        return info

    def compute(self, batch: Batch, draws: Draws) -> UpdateInfo:
        """First half of an update: losses, mask, and clipped gradients, which stay in the parameters."""
        losses = self.losses(batch, draws)
        of_task = losses.of_task
        masked = self.mask(of_task.detach())
        self.optimiser.zero_grad()
        self.backward(of_task, masked, draws.streams)
        for kept in self._kept:
            kept.drop_gradients()
        return UpdateInfo(losses, masked, *self.clip())

    def apply(self) -> None:
        """Move parameters along the gradients, and the targets towards the critics."""
        self.optimiser.step()
        with torch.no_grad():
            if self.config.max_log_alpha is not None:
                self.log_alpha.clamp_(max=self.config.max_log_alpha)
        self._following.follow(self.config.target_tau)

    def after_update(self, info: UpdateInfo, streams: Streams) -> None:
        """Let networks do what they do about tasks whose loss was extreme."""
        with torch.no_grad():
            self.actor.after_update(info.masked, streams)
            self.critics.after_update(info.masked, streams)

    def losses(self, batch: Batch, draws: Draws) -> Losses:
        """Losses of each task, from the parameters and temperatures before the update."""
        alpha, weight = self.alpha, self.loss_weights()
        critic_losses = self.critic_losses(batch, draws, alpha, weight)
        with frozen(self._of_critics):
            policy_loss, mean_log_prob = self.policy_loss(batch, draws, alpha, weight)
        alpha_loss = -self.log_alpha * (mean_log_prob + self.config.target_entropy)
        return Losses(alpha_loss, policy_loss, critic_losses, mean_log_prob)

    def critic_losses(self, batch: Batch, draws: Draws, alpha: Tensor, weight: Tensor) -> Tensor:
        """TD losses of both critics, [seed, 2, task], weighted by ``weight`` [seed, task]."""
        with torch.no_grad():
            next_action, next_log_prob = sample_action(
                self.value(self.actor, batch.next_obs), draws.next_noise
            )
            next_value = self.twins(self.targets, torch.cat([batch.next_obs, next_action], -1))
            soft_value = next_value.amin(1) - alpha.unsqueeze(1) * next_log_prob
            target = batch.reward + self.config.discount * (1 - batch.terminal) * soft_value
        taken = torch.cat([batch.obs, batch.action], -1)
        value = self.twins(self.critics, taken, draws.critic_rule)
        return weight.unsqueeze(1) * (value - target.unsqueeze(1)).square().mean(2)

    def policy_loss(self, batch: Batch, draws: Draws, alpha: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Policy loss weighted by ``weight``, and the mean log pi of its actions, detached; all [seed, task].

        The critics have to be frozen meanwhile.
        """
        output = self.value(self.actor, batch.obs, draws.actor_rule)
        action, log_prob = sample_action(output, draws.actor_noise)
        new_value = self.twins(self.critics, torch.cat([batch.obs, action], -1)).amin(1)
        loss = weight * (alpha.unsqueeze(1) * log_prob - new_value).mean(1)
        return loss, log_prob.detach().mean(1)

    def twins(self, critics: Network, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Tensor:
        """What the critics of each seed answer to its [seed, batch, task, 43]: [seed, 2, batch, task]."""
        value = self.value(critics, for_members(x, 2 * self.seeds), rule)
        return value.view(self.seeds, -1, *value.shape[1:-1])

    def value(self, network: Network, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Tensor:
        """What ``network`` answers, computed in bf16 if that was chosen, returned in the precision of ``x``."""
        if not self.autocast:
            plain: Tensor = network(x, rule).value
            return plain
        # no cache of cast weights: each is cast once in here anyway, and some without gradients
        with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False):
            value: Tensor = network(x, rule).value
        return value.to(x.dtype)

    @property
    def alpha(self) -> Tensor:
        """Temperature of each task, [seed, task], detached."""
        return self.log_alpha.detach().exp()

    @property
    def route_temperature(self) -> Tensor:
        """tau of each task, [seed, task]; 1 for all without route balancing."""
        if self.config.route_balancing:
            return task_weights(self.log_alpha)
        return torch.ones_like(self.log_alpha.detach())

    def loss_weights(self) -> Tensor:
        """Weight of each task's actor and critic losses, [seed, task], detached."""
        match self.config.task_weights:
            case "softmax":
                return task_weights(self.log_alpha)
            case "softmax-alpha":
                return self.alpha.shape[-1] * torch.softmax(-self.alpha, -1)
            case "uniform":
                return torch.ones_like(self.alpha)

    def draw(self, batch: Batch, streams: Streams) -> Draws:
        """Draw an update's randomness for ``batch``, each seed's from its own stream."""
        _, size, tasks, actions = batch.action.shape
        noise = normal(streams, 2, size, tasks, actions).to(self.log_alpha)
        if batch.sources is not None and self.config.policy_route == "stored":
            actor_rule: RouteRule = Replayed(batch.sources)
        else:
            actor_rule = self.sampled(self.actor, size, streams)
        critic_rule: RouteRule = DETERMINISTIC
        if self.config.critic_route == "sampled":
            critic_rule = self.sampled(self.critics, size, streams)
        return Draws(noise[:, 0], noise[:, 1], actor_rule, critic_rule, streams)

    def sampled(self, network: Network, batch: int, streams: Streams) -> RouteRule:
        """A rule that draws the routes of ``network`` for [batch, task] states at the current route temperatures."""
        if network.num_logits == 0:
            return DETERMINISTIC
        members = network.ensemble // self.seeds
        noise = gumbel(streams, members, network.num_logits, batch, network.num_tasks).to(self.log_alpha)
        temperature = for_members(self.route_temperature, network.ensemble)
        return Sampled(temperature, noise.flatten(0, 1).permute(0, 2, 3, 1))

    def mask(self, task_losses: Tensor) -> Tensor:
        """Tasks left out of this update, [seed, task] boolean: those whose summed loss is extreme."""
        if self.config.task_loss_threshold is None:
            return torch.zeros_like(task_losses, dtype=torch.bool)
        return task_losses > self.config.task_loss_threshold

    def backward(self, task_losses: Tensor, masked: Tensor, streams: Streams) -> None:
        """Put gradients of each seed's mean unmasked task loss into its parameters.

        Independent agents (``clip_per: task``) have nothing to average: each gets the gradient of its own
        loss.
        """
        kept = torch.where(masked, 0.0, task_losses)
        if self.config.clip_per == "network":
            kept = kept / kept.shape[-1]
        if self.config.gradient_surgery == "none":
            kept.sum().backward()  # type: ignore[no-untyped-call]
            return
        kept.sum().backward(retain_graph=True, inputs=[self.log_alpha])  # type: ignore[no-untyped-call]
        for parameters in (self._of_actor, self._of_critics):
            operate(parameters, kept, streams)

    def clip(self) -> tuple[Tensor, Tensor, Tensor]:
        """Clip gradients of each seed's actor, each critic and log-alphas; return the norms before."""
        actor, critics, alpha = self.optimiser.clip(self.config.grad_clip)
        return actor, critics.view(self.seeds, -1, *critics.shape[1:]), alpha

    def check(self, info: UpdateInfo, flags: Tensor) -> bool:
        """Whether an update left out a task, asked of the host once; ``flags`` are those of ``info``.

        Raises:
            Diverged: unless every loss and gradient norm is finite.
        """
        finite, masked = flags.tolist()
        looked_at = [place for place in range(self.seeds) if not finite[place]]
        wrong = {place: found for place in looked_at if (found := not_finite(info, place)) is not None}
        if wrong:
            raise Diverged(wrong, info)
        return any(masked)

    def state_dict(self, place: int = 0) -> dict[str, Any]:
        """Everything that an update of the seed at ``place`` reads or writes, as if it learned alone."""
        networks = {"actor": self.actor, "critics": self.critics, "targets": self.targets}
        return {
            **{name: state_of(network, place, self.seeds) for name, network in networks.items()},
            "log_alpha": self.log_alpha.detach()[place].clone(),
            "optimiser": self.optimiser.state_dict(place),
        }

    def load_state_dict(self, state: dict[str, Any], place: int = 0) -> None:
        """Restore what :meth:`state_dict` of this seed returned, from whatever cohort it was."""
        for name, network in (("actor", self.actor), ("critics", self.critics), ("targets", self.targets)):
            load_state_of(network, state[name], place, self.seeds)
        with torch.no_grad():
            self.log_alpha[place].copy_(state["log_alpha"])
        self.optimiser.load_state_dict(state["optimiser"], place)

    def settle_targets(self) -> None:
        """Let targets of what does not learn be what it is, which they would drift towards."""
        for kept in self._kept[1:]:
            kept.copy_to(list(self.targets.parameters()))

    def alone(self, place: int) -> MultiTaskSAC:
        """A copy of the learner of the seed at ``place``, never compiled or recorded."""
        return self.of_seeds([place])

    def of_seeds(self, places: Sequence[int]) -> MultiTaskSAC:
        """A copy of the learner of some of its seeds."""
        actor, critics = (
            side_by_side([alone(network, place, self.seeds) for place in places])
            for network in (self.actor, self.critics)
        )
        copied = MultiTaskSAC(actor, critics, self.config, self.autocast, self.adaptation)
        for new, place in enumerate(places):
            copied.load_state_dict(self.state_dict(place), new)
        return copied


def not_finite(info: UpdateInfo, place: int) -> NotFinite | None:
    """What of a seed's losses and gradient norms is not finite; none if only their sum was too large."""
    per_task = info.losses.of_task.detach()[place]
    norms = torch.cat(
        [norm[place].flatten() for norm in (info.actor_norm, info.critic_norm, info.alpha_norm)]
    )
    if bool(norms.isfinite().all() & per_task.isfinite().all()):
        return None
    bad = (~torch.isfinite(per_task)).nonzero()
    return NotFinite("loss" if len(bad) else "gradient", int(bad[0]) if len(bad) else None)
