"""The tanh-Gaussian policy: from an actor's output to actions and log-probabilities.

Bounds and the 1e-6 of the change of variables are the official code's
(``torchrl/policies/distribution.py``); the method is Haarnoja et al., ICML 2018, arXiv 1801.01290, appendix
C.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from d2r.algorithms import compiled_policy
from d2r.kernel.library import serving

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
TANH_EPSILON = 1e-6


def mean_action(output: Tensor) -> Tensor:
    """Return the deterministic action tanh(mean), [..., A], of an actor's output [..., 2A]."""
    mean, _ = output.chunk(2, dim=-1)
    return mean.tanh()


def sample_action(output: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return a reparameterised action and its log-probability.

    Args:
        output: [..., 2A], mean and log-std before clamping.
        noise: [..., A], standard normal.

    Returns:
        action [..., A] in (-1, 1), and log pi(action) [...].
    """
    kernel = serving(output, noise)
    if kernel is not None and output.shape[:-1] == noise.shape[:-1] and not noise.requires_grad:
        limits = LOG_STD_MIN, LOG_STD_MAX, TANH_EPSILON
        return compiled_policy.sample_action(kernel, output, noise, limits)
    mean, log_std = output.chunk(2, dim=-1)
    log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
    action = torch.tanh(mean + log_std.exp() * noise)
    gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    return action, (gaussian - torch.log(1 - action.square() + TANH_EPSILON)).sum(-1)
