"""Random and hostile files for everything that reads files; ``D2R_FUZZ_SECONDS`` says for how long (660)."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.support.mutations import contents
from tests.support.targets import TARGETS, World, feed, make_world

pytestmark = pytest.mark.slow
SECONDS = float(os.environ.get("D2R_FUZZ_SECONDS", "660"))
BATCH = 25
FIRST_SEED = int(os.environ.get("D2R_FUZZ_SEED", "0"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A finished, released run in a project of its own."""
    with make_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.mark.parametrize("name", list(TARGETS))
def test_nothing_but_one_line(name: str, world: World, counts: Counter[str]) -> None:
    target = TARGETS[name]
    whole = target.whole(world)
    feed(world, target, whole)
    end = time.monotonic() + SECONDS / len(TARGETS)
    batch = 0
    while time.monotonic() < end:

        @seed(FIRST_SEED + batch)
        @settings(
            max_examples=BATCH,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(contents(whole, target.form))
        def fuzz(content: bytes) -> None:
            counts["inputs fuzzed"] += 1
            feed(world, target, content)

        fuzz()
        batch += 1
