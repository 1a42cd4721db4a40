"""Batches that the compiled library copies out of the replay, against PyTorch's operators."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from d2r.algorithms.replay import Batch, Replay
from tests.support.compiled import BUILT

pytestmark = pytest.mark.skipif(not BUILT, reason="the library is not built: no C++ compiler")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seeds=st.integers(1, 3),
    tasks=st.integers(1, 5),
    horizon=st.integers(1, 7),
    capacity=st.integers(1, 40),
    terminal=st.booleans(),
    route=st.sampled_from([None, (3, 2)]),
    size=st.integers(1, 30),
)
def test_a_batch_has_the_bits_of_pytorchs(
    served: Callable[[bool], None],
    seeds: int,
    tasks: int,
    horizon: int,
    capacity: int,
    terminal: bool,
    route: tuple[int, int] | None,
    size: int,
) -> None:
    replay = Replay(capacity, horizon, tasks, terminal, route, seeds=seeds)
    for rings in (replay.obs, replay.action, replay.reward):
        rings.normal_()
    if replay.sources is not None:
        replay.sources.random_(200)
    for place in range(seeds):
        replay.ring(place).total = replay.capacity

    def batches() -> list[Batch]:
        streams = [torch.Generator().manual_seed(seed) for seed in range(seeds)]
        return [replay.sample(size, streams), replay.sample_of(seeds - 1, size, streams[0])]

    served(True)
    compiled = batches()
    served(False)
    for ours, plain in zip(compiled, batches(), strict=True):
        for name, of_library, of_pytorch in zip(Batch._fields, ours, plain, strict=True):
            assert (of_library is None) == (of_pytorch is None) == (name == "sources" and route is None)
            assert of_library is None or torch.equal(of_library, of_pytorch)
