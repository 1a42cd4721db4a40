"""What actor and critics are to minimise: the losses of each task, averaged over its transitions (``sac.py``).

Formulas are those of Soft Actor-Critic (Haarnoja et al., arXiv 1812.05905) with the smaller of two critics (Fujimoto et
al., ICML 2018) in target and policy loss. Shapes: what critics answer is [seed, 2, batch, task]; reward, terminal and
log pi are [seed, batch, task]; temperatures ``alpha`` and weights of the tasks are [seed, task].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from d2r.algorithms import compiled_losses
from d2r.kernel.library import serving


class Continuation(NamedTuple):
    """What came after the transitions of a batch, without a gradient.

    Attributes:
        reward, terminal: of the transitions.
        value: what the target critics answer for the action that the policy takes next; log_prob: its log pi.
    """

    reward: Tensor
    terminal: Tensor
    value: Tensor
    log_prob: Tensor

    def target(self, alpha: Tensor, discount: float) -> Tensor:
        """The TD target: the reward, and the discounted soft value of what comes next; [seed, batch, task]."""
        soft_value = self.value.amin(1) - alpha.unsqueeze(1) * self.log_prob
        return self.reward + discount * (1 - self.terminal) * soft_value


def td_losses(
    value: Tensor, next_step: Continuation, alpha: Tensor, weight: Tensor, discount: float
) -> Tensor:
    """Weighted TD losses of both critics, [seed, 2, task], from what they answer."""
    kernel = serving(value, alpha, *next_step)
    if kernel is not None:
        return compiled_losses.td_losses(kernel, value, *next_step, alpha, weight, discount)
    with torch.no_grad():
        target = next_step.target(alpha, discount)
    return weight.unsqueeze(1) * (value - target.unsqueeze(1)).square().mean(2)


def policy_losses(value: Tensor, log_prob: Tensor, alpha: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted policy losses and the mean log pi, which is detached, both [seed, task].

    Args:
        value: what critics answer for new actions; log_prob: log pi of these.
    """
    kernel = serving(value, log_prob, alpha)
    if kernel is not None:
        return compiled_losses.policy_losses(kernel, value, log_prob, alpha, weight)
    loss = weight * (alpha.unsqueeze(1) * log_prob - value.amin(1)).mean(1)
    return loss, log_prob.detach().mean(1)
