"""What gymnasium makes by name is the environment of a run."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

import d2r.envs  # noqa: F401 - its import is what registers
from d2r.config import load_protocol
from d2r.config.benchmarks import benchmark_ids
from d2r.envs.vector import MetaWorldVectorEnv
from d2r.errors import UserError
from d2r.training.seeding import Stream, seed_sequence


def test_every_benchmark_is_known_by_name() -> None:
    known = {name for name in gymnasium.registry if name.startswith("d2r/")}
    assert known == {f"d2r/{benchmark}-v0" for benchmark in benchmark_ids()}


@pytest.mark.parametrize("evaluation", [True, False])
def test_its_goals_are_those_of_the_run_with_its_seed(evaluation: bool) -> None:
    made = gymnasium.make_vec("d2r/mt10-rand-v0", num_envs=10, seed=3, evaluation=evaluation)
    protocol, seed = load_protocol("d2r-official"), seed_sequence(3, Stream.ENVIRONMENT)
    ours = MetaWorldVectorEnv("mt10-rand", protocol, seed, evaluation=evaluation)
    assert np.array_equal(made.reset()[0], ours.reset()[0])
    assert made.spec is not None
    assert made.spec.id == "d2r/mt10-rand-v0"


def test_the_protocol_can_be_chosen() -> None:
    made = gymnasium.make_vec("d2r/mt10-fixed-v0", protocol="metaworld-plus")
    assert made.unwrapped.protocol == load_protocol("metaworld-plus")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"num_envs": 4}, "num_envs is 4: mt10-fixed has 10 tasks, one a row"),
        ({"seed": -1}, "seed -1: must be a whole number"),
        ({"protocol": "metaworld-pluss"}, "did you mean 'metaworld-plus'"),
        ({"workers": 11}, "workers is 11"),
    ],
)
def test_what_is_impossible_is_said(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        gymnasium.make_vec("d2r/mt10-fixed-v0", **arguments)
