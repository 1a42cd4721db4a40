"""A seed among others learns what it learns alone: every method, with seeds beside it that go other ways."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from d2r.algorithms.members import side_by_side
from d2r.algorithms.replay import Batch
from d2r.algorithms.sac import Diverged, MultiTaskSAC
from d2r.config import load_method, method_ids
from d2r.config.load import resolve_network
from d2r.networks.d2r.levels import D2RNetwork
from d2r.networks.registry import build_actor, build_critics
from d2r.training.growth import grow, modules_in_use

TASKS, SIZE, WIDTH = 10, 8, 0.16
FLOAT32_ROUNDING = 2e-2
"""What 200 updates make of float32's last bits at most, over the largest parameter; most methods are far below it."""


class Seeds:
    """Seeds of a method that learn side by side, each on transitions of its own."""

    def __init__(self, method: str, seeds: Sequence[int], dtype: torch.dtype = torch.float64):
        network = resolve_network(method, "mt10", WIDTH)
        self.seeds, self.dtype = seeds, dtype
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        actors = [build_actor(network, TASKS, g) for g in generators]
        critics = [build_critics(network, TASKS, g) for g in generators]
        self.sac = MultiTaskSAC(
            side_by_side(actors).to(dtype), side_by_side(critics).to(dtype), load_method(method).sac
        )
        self.data = [torch.Generator().manual_seed(100 + seed) for seed in seeds]
        self.streams = [torch.Generator().manual_seed(200 + seed) for seed in seeds]

    def update(self, number: int) -> None:
        """One update; in the second, one of a seed's tasks has an extreme loss if the seed is an odd one."""
        parts = [self._batch(seed, data, number) for seed, data in zip(self.seeds, self.data, strict=True)]
        batch = Batch(*map(torch.stack, zip(*parts, strict=True)), None)
        if self.sac.actor.route_shape is not None:
            with torch.no_grad():
                route = self.sac.actor(batch.obs, self.sac.sampled(self.sac.actor, SIZE, self.streams)).route
            assert route is not None
            batch = batch._replace(sources=route.sources.to(torch.uint8))
        self.sac.update(batch, self.sac.draw(batch, self.streams))

    def _batch(self, seed: int, data: torch.Generator, number: int) -> list[Tensor]:
        obs, next_obs = torch.randn(2, SIZE, TASKS, 39, generator=data).to(self.dtype)
        action = torch.rand(SIZE, TASKS, 4, generator=data).to(self.dtype) * 2 - 1
        reward = torch.rand(SIZE, TASKS, generator=data).to(self.dtype)
        if number == 1 and seed % 2:
            reward[:, seed] = 1e5
        return [obs, action, reward, next_obs, torch.zeros_like(reward)]


def parameters(sac: MultiTaskSAC, place: int) -> dict[str, Tensor]:
    """All that an update of a seed moves, by name."""
    state = sac.state_dict(place)
    found = {f"{net}.{k}": v for net in ("actor", "critics", "targets") for k, v in state[net].items()}
    for number, moments in state["optimiser"]["state"].items():
        found |= {f"{number}.{k}": v for k, v in moments.items()}
    return found | {"log_alpha": state["log_alpha"]}


def worst(one: MultiTaskSAC, place: int, alone: MultiTaskSAC) -> float:
    """Largest difference of a parameter over the largest parameter of its tensor; moments are compared in form."""
    expected = parameters(alone, 0)
    found = parameters(one, place)
    assert found.keys() == expected.keys()
    assert all(found[name].shape == expected[name].shape for name in expected)
    return max(
        float((found[name] - value).abs().max() / value.abs().max().clamp(min=1e-12))
        for name, value in expected.items()
        if value.is_floating_point() and value.numel() and not name.endswith((".exp_avg", ".exp_avg_sq"))
    )


@pytest.mark.parametrize("method", method_ids())
def test_a_seed_among_others_learns_what_it_learns_alone(method: str) -> None:
    """In float64 to rounding: two seeds among three, one of which loses a task to the mask and one does not."""
    together = Seeds(method, (3, 4, 5))
    alone = {place: Seeds(method, (seed,)) for place, seed in enumerate((3, 4))}
    for number in range(3):
        together.update(number)
        for learning in alone.values():
            learning.update(number)
    for place, learning in alone.items():
        assert worst(together.sac, place, learning.sac) < 1e-9
        assert torch.equal(together.streams[place].get_state(), learning.streams[0].get_state())
    assert worst(together.sac, 0, alone[1].sac) > 1e-3, "other seeds are others"


@pytest.mark.slow
@pytest.mark.parametrize("method", method_ids())
def test_200_updates_in_float32(method: str) -> None:
    together, alone = (Seeds(method, seeds, torch.float32) for seeds in ((3, 4, 5), (4,)))
    for number in range(200):
        together.update(number)
        alone.update(number)
    assert worst(together.sac, 1, alone.sac) < FLOAT32_ROUNDING


def test_a_seeds_state_goes_on_alone_and_from_alone_into_a_cohort() -> None:
    """What is saved has the names and shapes of a seed alone, and either goes on from the other."""
    together, alone = Seeds("d2r", (3, 4, 5)), Seeds("d2r", (4,))
    for number in range(2):
        together.update(number)
        alone.update(number)
    saved = together.sac.state_dict(1), alone.sac.state_dict()
    for taken, target, place in ((saved[0], Seeds("d2r", (7,)), 0), (saved[1], Seeds("d2r", (7, 8)), 1)):
        target.sac.load_state_dict(taken, place)
        assert worst(target.sac, place, alone.sac) < 1e-9
    few = together.sac.of_seeds([2, 1])
    assert worst(few, 1, alone.sac) < 1e-9
    assert worst(few, 0, together.sac.alone(2)) == 0


def test_seeds_grow_each_at_its_own_time() -> None:
    """One that grew among others that did not, or did later, is what it is alone."""
    together, alone = Seeds("d2r-growing", (3, 4, 5)), Seeds("d2r-growing", (4,))
    for number in range(4):
        if number == 1:
            assert grow(together.sac, 1)
            assert grow(alone.sac, 0)
        if number == 2:
            assert grow(together.sac, 2)
        together.update(number)
        alone.update(number)
    assert [modules_in_use(together.sac, place) for place in range(3)] == [4, 5, 5]
    assert worst(together.sac, 1, alone.sac) < 1e-9
    assert int(together.sac.state_dict(0)["actor"]["active"]) == 4
    rest = together.sac.of_seeds([1])
    assert isinstance(rest.actor, D2RNetwork)
    assert rest.actor.in_use == 5
    assert worst(rest, 0, alone.sac) < 1e-9


def test_what_is_wrong_with_a_seed_stays_with_it() -> None:
    """No number of the others changes, neither in the update nor after it."""
    for method in ("d2r", "mtsac", "pcgrad", "moore"):
        spoilt, whole = (Seeds(method, (3, 4)) for _ in range(2))
        with torch.no_grad():
            next(spoilt.sac.critics.parameters())[0] = float("nan")
        for number in range(2):
            whole.update(number)
            with pytest.raises(Diverged) as diverged:
                spoilt.update(number)
            assert set(diverged.value.wrong) == {0}
            spoilt.sac.apply()
        assert worst(spoilt.sac, 1, whole.sac.alone(1)) == 0
