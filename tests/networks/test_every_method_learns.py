"""Every baseline, D2R and its other routing levels learn two Meta-World tasks and beat a random policy over 3 seeds."""

from __future__ import annotations

import pytest
import torch

from d2r.config import load_method, method_ids

from .easy_tasks import random_outcome, trained_outcome

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
    random = torch.cat([random_outcome(seed).returns for seed in SEEDS]).mean()
    success = torch.stack([outcome.success.mean() for outcome in trained]).mean()
    returns = ", ".join("/".join(f"{value:.0f}" for value in outcome.returns[0]) for outcome in trained)
    print(f"\n{method}: returns {returns} (random {random:.0f}); success {success:.2f}")
    for seed, outcome in zip(SEEDS, trained, strict=True):
        assert outcome.returns.mean() > 2 * random, f"seed {seed}: twice the return of a random policy"
