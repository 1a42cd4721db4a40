"""Losses by the compiled library, against PyTorch's operators."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from d2r.algorithms.losses import Continuation, policy_losses, td_losses
from tests.support.compiled import BUILT, EXACT, both, gradients

pytestmark = pytest.mark.skipif(not BUILT, reason="the library is not built: no C++ compiler")
repeated = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Case:
    """What losses are computed from; some critics' answers are equal, as those of a dead network are."""

    def __init__(self, seed: int, seeds: int, batch: int, tasks: int):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        self.value, self.next_value = (normal(seeds, 2, batch, tasks) for _ in range(2))
        self.value[:, 1, ::3] = self.value[:, 0, ::3]
        self.log_prob, self.reward = normal(seeds, batch, tasks), normal(seeds, batch, tasks)
        self.terminal = (normal(seeds, batch, 1) > 0).double().expand(-1, -1, tasks)
        self.alpha, self.weight = normal(seeds, tasks).exp(), normal(seeds, tasks).exp()

    def compute(self) -> list[Tensor]:
        """Losses, and gradients of all that they have gradients of."""
        value, log_prob = (t.clone().requires_grad_() for t in (self.value, self.log_prob))
        next_step = Continuation(self.reward, self.terminal, self.next_value, self.log_prob)
        td = td_losses(value, next_step, self.alpha, self.weight, 0.9)
        policy, mean_log_prob = policy_losses(value, log_prob, self.alpha, self.weight)
        assert not mean_log_prob.requires_grad
        return [*gradients(td, value), *gradients(policy, value, log_prob), mean_log_prob]


sizes = st.tuples(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 40), st.integers(1, 50))


@repeated
@given(sizes)
def test_losses_and_their_gradients_are_those_of_pytorch(
    served: Callable[[bool], None], drawn: tuple[int, int, int, int]
) -> None:
    for ours, plain in both(served, Case(*drawn).compute):
        torch.testing.assert_close(ours, plain, **EXACT)


@repeated
@given(sizes, st.sampled_from([math.nan, math.inf, -math.inf]), st.data())
def test_what_is_no_number_reaches_the_loss_of_its_task_as_in_pytorch(
    served: Callable[[bool], None], drawn: tuple[int, int, int, int], wrong: float, data: st.DataObject
) -> None:
    case = Case(*drawn)
    spoilt = data.draw(st.sampled_from(["value", "next_value", "log_prob", "reward"]), "spoilt")
    numbers = getattr(case, spoilt).view(-1)
    numbers[data.draw(st.integers(0, len(numbers) - 1), "where")] = wrong
    for ours, plain in both(served, case.compute):
        torch.testing.assert_close(ours, plain, equal_nan=True, **EXACT)


def test_a_seeds_losses_have_the_bits_that_they_have_alone(served: Callable[[bool], None]) -> None:
    case, alone = Case(0, 3, 20, 10), Case(0, 3, 20, 10)
    served(True)
    together = case.compute()
    for name in ("value", "next_value", "log_prob", "reward", "terminal", "alpha", "weight"):
        setattr(alone, name, getattr(case, name)[1:2])
    own = alone.compute()
    for losses in (0, 2, 5):  # TD, policy, and the mean log pi
        assert torch.equal(together[losses][1:2], own[losses])
