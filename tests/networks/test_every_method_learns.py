"""Every baseline, D2R and its other routing levels learn two Meta-World tasks: over three seeds each beats chance.

A random policy closes the drawer in one episode of twenty, so a single good episode shows nothing. The mean return of
three trained policies has to be above what three random episodes reach once in a hundred times.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from d2r.config import load_method, method_ids

from .easy_tasks import random_outcome, trained_outcome

SEEDS = (1, 2, 3)
METHODS = [
    name
    for name in method_ids()
    if load_method(name).kind == "baseline" or name in ("d2r", "d2r-layer", "d2r-model")
]


def chance_bound(returns: Tensor) -> float:
    """What the mean of as many random episodes as there are seeds exceeds once in a hundred times."""
    source = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(returns), (20_000, len(SEEDS)), generator=source)
    return float(returns[drawn].mean(1).quantile(0.99))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_method_beats_a_random_policy(method: str) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trained = [trained_outcome(method, seed) for seed in SEEDS]
    finally:
        torch.set_num_threads(threads)
    random = torch.cat([random_outcome(seed).returns.mean(1) for seed in SEEDS])
    bound = chance_bound(random)
    returns = torch.cat([outcome.returns for outcome in trained])
    success = torch.cat([outcome.success for outcome in trained]).mean()
    of_task = ", ".join("/".join(f"{value:.0f}" for value in seed) for seed in returns)
    print(
        f"\n{method}: returns {of_task}; mean {returns.mean():.0f}, random {random.mean():.0f}, "
        f"bound {bound:.0f}; success {success:.2f}"
    )
    assert returns.mean() > bound
