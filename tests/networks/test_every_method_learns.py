"""Every baseline, D2R and its other routing levels learn two easy tasks and beat a random policy over three seeds."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from d2r.config import load_method, method_ids

from .point_tasks import random_outcome, trained_outcome

SEEDS = (1, 2, 3)
METHODS = [
    name
    for name in method_ids()
    if load_method(name).kind == "baseline" or name in ("d2r", "d2r-layer", "d2r-model")
]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_method_beats_a_random_policy(method):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trained = [trained_outcome(method, seed) for seed in SEEDS]
    finally:
        torch.set_num_threads(threads)
    random = [random_outcome(seed) for seed in SEEDS]
    gain = torch.stack([a.returns - b.returns for a, b in zip(trained, random, strict=True)])
    success, chance = (torch.stack([o.success for o in outcomes]).mean() for outcomes in (trained, random))
    print(f"{method}: success {success:.2f} against {chance:.2f}, return higher by {gain.mean():.1f}")
    assert (gain > 0).all(), "better on both tasks with every seed"
    of_seed = gain.mean(1).double()
    half_width = stats.t.ppf(0.975, len(SEEDS) - 1) * of_seed.std() / math.sqrt(len(SEEDS))
    assert of_seed.mean() - half_width > 0, "the 95 % interval of the gain over seeds excludes zero"
    assert success > 2 * chance
