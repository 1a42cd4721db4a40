"""Clipping, Adam and following targets by the compiled library, against PyTorch's operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from d2r.algorithms.adam import Adam
from d2r.algorithms.targets import Targets
from d2r.kernel import library
from tests.support.compiled import BUILT, EXACT, both

pytestmark = pytest.mark.skipif(not BUILT, reason="the library is not built: no C++ compiler")
repeated = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])

RATES, TASKS, SHARE = (3e-4, 1e-2, 1e-1), 3, 0.3


class Learning:
    """What an optimiser moves: an actor, twin critics and temperatures, of seeds side by side.

    Args:
        seeds: numbers from which each one's parameters and gradients are drawn, the same alone and among others.
        sizes: of the parameters of each network, per task and member.
        axes: leading axes that tell members apart.
    """

    def __init__(self, seeds: Sequence[int], sizes: Sequence[int], axes: int, dtype: torch.dtype):
        self.streams, self.dtype = [torch.Generator().manual_seed(seed) for seed in seeds], dtype
        self.networks = [[self.drawn(members, TASKS, size) for size in sizes] for members in (1, 2)]
        self.alpha = self.drawn(1, TASKS)
        groups = zip([*self.networks, [self.alpha]], RATES, (1, 2, 1), strict=True)
        self.adam = Adam(list(groups), axes)
        self.of_targets = [p.detach() + 1 for p in self.networks[1]]
        self.targets = Targets(self.of_targets, self.networks[1], len(seeds))
        self.parameters = [*self.networks[0], *self.networks[1], self.alpha]

    def drawn(self, *shape: int, scale: float = 1.0) -> Tensor:
        drawn = torch.cat([torch.randn(shape, generator=stream) for stream in self.streams])
        return (drawn * scale).to(self.dtype).requires_grad_()

    def update(self, number: int, share: float = SHARE) -> list[Tensor]:
        """Norms before clipping; the first parameter has no gradient the first time."""
        members = [len(parameter) // len(self.streams) for parameter in self.parameters]
        for place, (parameter, rows) in enumerate(zip(self.parameters, members, strict=True)):
            gradient = self.drawn(rows, *parameter.shape[1:], scale=10.0 ** (number % 4 - 2)).detach()
            parameter.grad = gradient if place or number else None
        norms = self.adam.clip(1.0)
        self.adam.step()
        self.targets.follow(share)
        return norms

    def everything(self) -> list[Tensor]:
        moments = [value for state in self.adam.state.values() for value in state.values()]
        given = [p.grad for p in self.parameters if p.grad is not None]
        return [*(p.detach() for p in self.parameters), *given, *moments, *self.of_targets]


sizes = st.lists(st.integers(1, 150), min_size=2, max_size=4)


@repeated
@given(st.sampled_from([(0,), (0, 1, 2)]), sizes, st.sampled_from([1, 2]), st.sampled_from([0.005, 0.7, 1.0]))
def test_updates_are_those_of_pytorch(
    served: Callable[[bool], None], seeds: Sequence[int], sizes: Sequence[int], axes: int, share: float
) -> None:
    def compute() -> list[Tensor]:
        learning = Learning(seeds, sizes, axes, torch.float64)
        norms = [norm for number in range(5) for norm in learning.update(number, share)]
        return [*norms, *learning.everything()]

    for ours, plain in both(served, compute):
        torch.testing.assert_close(ours, plain, **EXACT)


@repeated
@given(sizes, st.sampled_from([1, 2]), st.sampled_from([torch.float32, torch.float64]))
def test_a_seed_among_others_has_the_bits_that_it_has_alone(
    served: Callable[[bool], None], sizes: Sequence[int], axes: int, dtype: torch.dtype
) -> None:
    served(True)
    together = Learning((5, 6, 7), sizes, axes, dtype)
    alone = [Learning((seed,), sizes, axes, dtype) for seed in (5, 6, 7)]
    for number in range(3):
        norms = together.update(number)
        of_each = [one.update(number) for one in alone]
        assert all(map(torch.equal, norms, map(torch.cat, zip(*of_each, strict=True))))
    of_each = [one.everything() for one in alone]
    assert all(map(torch.equal, together.everything(), map(torch.cat, zip(*of_each, strict=True))))


def test_threads_change_no_bit(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    functions, before = library.load(library.library(level), torch.float32), torch.get_num_threads()
    monkeypatch.setattr(library, "functions", lambda _: functions)
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        learning = Learning((0, 1), (200_000, 7), 1, torch.float32)
        learning.update(1)
        results.append(learning.everything())
    torch.set_num_threads(before)
    assert all(map(torch.equal, *results))


def test_gradients_that_share_memory_are_scaled_once(served: Callable[[bool], None]) -> None:
    buffer = torch.tensor([[0.0, 3.0, 4.0, 0.0]])
    for gradients in (
        (buffer[:, :3].clone(), buffer[:, 1:].clone()),
        (buffer[:, :3].view(1, 3), buffer[:, 1:].view(1, 3)),
        (buffer.expand(3, 4).t()[1:].reshape(1, 3, 3).transpose(1, 2), torch.zeros(1, 3, 3)),
    ):
        served(True)
        parameters = [torch.zeros_like(gradient).requires_grad_() for gradient in gradients]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        whole = torch.cat([gradient.flatten() for gradient in gradients])
        [norm] = Adam([(parameters, 0.1, 1)]).clip(1.0)
        assert norm.tolist() == pytest.approx([float(whole.norm())])
        clipped = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
        torch.testing.assert_close(clipped, whole / whole.norm())


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_no_number_stays_with_its_member(served: Callable[[bool], None], wrong: float) -> None:
    served(True)
    parameter = torch.zeros(2, 40, requires_grad=True)
    parameter.grad = torch.ones(2, 40)
    parameter.grad[0, 3] = wrong
    adam = Adam([([parameter], 0.1, 2)])
    [norms] = adam.clip(1.0)
    assert norms.isfinite().tolist() == [False, True]
    assert parameter.grad[0, 3].isnan()
    adam.step()
    assert not parameter[0].isfinite().all()
    torch.testing.assert_close(parameter[1], torch.full((40,), -0.1))


def test_what_has_been_replaced_is_moved_where_it_is_now(served: Callable[[bool], None]) -> None:
    def compute() -> list[Tensor]:
        learning = Learning((0,), (5, 40), 1, torch.float64)
        learning.update(1)
        for one in (*learning.parameters, *learning.of_targets):
            one.data = one.detach() * 2
        learning.update(2)
        return learning.everything()

    for ours, plain in both(served, compute):
        torch.testing.assert_close(ours, plain, **EXACT)
