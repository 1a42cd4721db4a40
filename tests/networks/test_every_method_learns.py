"""Every baseline, D2R and its other routing levels learn two Meta-World tasks, beating chance over three seeds.

The return of a method is the mean over the second half of its training. On each task, the mean of three seeds has to
be above the best of sixty episodes of random actions.
"""

from __future__ import annotations

import pytest
import torch

from d2r.config import load_method, method_ids

from .easy_tasks import TASK_NAMES, random_outcome, trained_outcome

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
    best_random = torch.cat([random_outcome(seed).returns for seed in SEEDS]).amax(0)
    for task, name in enumerate(TASK_NAMES):
        of_seeds = ", ".join(f"{value:.0f}" for value in returns[:, task])
        print(
            f"\n{method} {name}: {returns[:, task].mean():.0f} ({of_seeds}), best random episode "
            f"{best_random[task]:.0f}; success of the final policies {success[task]:.2f}"
        )
    assert (returns.mean(0) > best_random).all()
