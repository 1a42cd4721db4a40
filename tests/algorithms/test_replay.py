"""The replay gives back exactly what was put in, against a plain list of transitions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2r.algorithms.replay import Replay
from d2r.config import load_method
from d2r.networks.base import Network
from d2r.networks.registry import build_actor

TASKS = 2
ROUTE = (3, 2)


def filled(capacity: int, horizon: int, steps: int, terminal: bool) -> tuple[Replay, list[tuple[float, ...]]]:
    """A replay after ``steps`` steps, and the plain list: (observation, action, reward, next observation, terminal)."""
    replay = Replay(capacity, horizon, TASKS, terminal, ROUTE)
    plain = []
    number = 0.0

    def observation(value: float) -> torch.Tensor:
        return torch.full((1, TASKS, 39), value) + torch.arange(TASKS).unsqueeze(1) * 1000

    current = number
    replay.begin_episode(observation(current))
    for step in range(steps):
        number += 1
        last = step % horizon == horizon - 1
        replay.add(
            torch.full((1, TASKS, 4), -number),
            torch.full((1, TASKS), number / 2),
            observation(number),
            torch.full((1, TASKS, *ROUTE), step % 250, dtype=torch.uint8),
        )
        plain.append((current, -number, number / 2, number, float(terminal and last), step % 250))
        current = number
        if last:
            number += 1
            current = number
            replay.begin_episode(observation(current))
    return replay, plain


@given(
    capacity=st.integers(1, 20),
    horizon=st.integers(1, 7),
    steps=st.integers(1, 60),
    terminal=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_every_transition_that_can_be_drawn_is_one_that_was_added(
    capacity: int, horizon: int, steps: int, terminal: bool
) -> None:
    replay, plain = filled(capacity, horizon, steps, terminal)
    recent = plain[-len(replay) :] if len(replay) else []
    drawn = replay.sample(400, [torch.Generator().manual_seed(0)])
    found = set()
    assert drawn.sources is not None
    for i in range(400):
        row = (
            float(drawn.obs[0, i, 0, 0]),
            float(drawn.action[0, i, 0, 0]),
            float(drawn.reward[0, i, 0]),
            float(drawn.next_obs[0, i, 0, 0]),
            float(drawn.terminal[0, i, 0]),
            int(drawn.sources[0, i, 0, 0, 0]),
        )
        assert row in recent
        assert float(drawn.obs[0, i, 1, 0]) == row[0] + 1000, "all tasks are drawn at the same time index"
        found.add(row)
    if len(recent) <= 20:
        assert found == set(recent), "each of them can be drawn"


@given(horizon=st.integers(1, 6), steps=st.integers(1, 50), cut=st.integers(0, 49))
@settings(max_examples=60, deadline=None)
def test_segments_restore_the_same_replay(horizon: int, steps: int, cut: int) -> None:
    replay, _ = filled(12, horizon, steps, True)
    cut = min(cut, steps - 1)
    early, _ = filled(12, horizon, max(cut, 1), True)
    cut = early.total
    copy = Replay(12, horizon, TASKS, True, ROUTE)
    for source, start, stop in (
        (early, max(0, cut - early.capacity), cut),
        (replay, max(cut, steps - replay.capacity), steps),
    ):
        if start < stop:
            copy.ring(0).restore(start, source.ring(0).export(start, stop))
    if copy.total % horizon == 0:
        copy.begin_episode(replay.obs[:, replay.row(replay.total % replay.capacity)])
    one, two = (r.sample(300, [torch.Generator().manual_seed(1)]) for r in (replay, copy))
    for a, b in zip(one, two, strict=True):
        assert a is not None
        assert torch.equal(a, b)


@pytest.mark.parametrize(("method", "most"), [("d2r", 34), ("mtsac", 0)])
def test_a_route_takes_at_most_34_bytes(method: str, most: int) -> None:
    actor: Network = build_actor(load_method(method).network, 10, torch.Generator())
    replay = Replay(400, 200, 10, True, actor.route_shape)
    stored = 0 if replay.sources is None else replay.sources[0, 0, 0].numel() * replay.sources.element_size()
    assert stored <= most
    observations = replay.obs.shape[1] / replay.capacity
    assert observations == pytest.approx(1 + 1 / 200), "one observation a transition, and one more an episode"


def test_memory_of_ten_million_transitions_of_mt50() -> None:
    """1e7 transitions of D2R on MT50 stay below 3 GB (allocated sizes; nothing is touched)."""
    replay = Replay(200_000, 200, 50, True, (16, 2), device="meta")
    tensors = [replay.obs, replay.action, replay.reward, replay.sources]
    assert sum(t.numel() * t.element_size() for t in tensors if t is not None) < 3e9


def test_batches_lie_where_the_replay_lies_and_are_drawn_on_the_cpu() -> None:
    """On PyTorch's device without content, which refuses to mix with any other."""
    replay, on_cpu = (Replay(8, 4, TASKS, True, ROUTE, device) for device in ("meta", "cpu"))
    generators = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    for one, generator in zip((replay, on_cpu), generators, strict=True):
        one.ring(0).total = 6
        batch = one.sample(5, [generator])
        assert {t.device for t in batch if t is not None} == {one.obs.device}
    assert torch.equal(*(generator.get_state() for generator in generators))


@pytest.mark.cuda
def test_a_gpus_replay_survives_a_checkpoint_and_gives_the_same_batches() -> None:
    on_cpu, _ = filled(8, 4, 11, terminal=True)
    on_gpu = Replay(8, 4, TASKS, True, ROUTE, "cuda")
    on_gpu.ring(0).restore(3, on_cpu.ring(0).export(3, 11))
    for expected, exported in zip(
        on_cpu.ring(0).export(4, 11).values(), on_gpu.ring(0).export(4, 11).values(), strict=True
    ):
        assert torch.equal(expected, exported)
    batches = (r.sample(5, [torch.Generator().manual_seed(0)]) for r in (on_cpu, on_gpu))
    for expected, drawn in zip(*batches, strict=True):
        assert torch.equal(expected, drawn.cpu())
