"""Every baseline, D2R and its other routing levels learn two Meta-World tasks, beating chance over three seeds.

The return of a method is the mean over the last quarter of its updates. Of three seeds, the median has to be above
nineteen of twenty random episodes on each task, which chance alone does once in a hundred times, and above what the
best fixed action reaches on both together, which a policy that ignores state and task cannot.
"""

from __future__ import annotations

import pytest
import torch

from d2r.config import load_method, method_ids

from .easy_tasks import TASK_NAMES, best_fixed_action, random_outcome, trained_outcome

SEEDS = (1, 2, 3)
METHODS = [
    name
    for name in method_ids()
    if load_method(name).kind == "baseline" or name in ("d2r", "d2r-layer", "d2r-model")
]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_method_beats_a_random_policy(method: str) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trained = [trained_outcome(method, seed) for seed in SEEDS]
    finally:
        torch.set_num_threads(threads)
    returns = torch.stack([outcome.returns.mean(0) for outcome in trained])
    success = torch.stack([outcome.success[-1] for outcome in trained]).mean(0)
    random = torch.cat([random_outcome(seed).returns for seed in SEEDS]).quantile(0.95, 0)
    for task, name in enumerate(TASK_NAMES):
        of_seeds = ", ".join(f"{value:.0f}" for value in returns[:, task])
        print(
            f"\n{method} {name}: {returns[:, task].mean():.0f} ({of_seeds}), random episodes up to "
            f"{random[task]:.0f}, best fixed action {best_fixed_action()[task]:.0f}; "
            f"success of the final policies {success[task]:.2f}"
        )
    assert (returns.median(0).values > random).all()
    assert returns.mean(1).median() > best_fixed_action().mean()
