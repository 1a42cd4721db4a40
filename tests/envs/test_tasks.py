from __future__ import annotations

import pytest
from metaworld.env_dict import MT10_V3, MT50_V3

from d2r.config import load_benchmark
from d2r.envs.tasks import make_fast, make_stock, share_out
from d2r.errors import UserError


@pytest.mark.parametrize("name", ["mt10", "mt10-random", "mt5-rand", "", "MT10-rand"])
def test_an_unknown_benchmark_is_named(name: str) -> None:
    with pytest.raises(UserError, match=f"unknown benchmark '{name}'"):
        load_benchmark(name)


def test_a_misspelt_benchmark_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match="did you mean 'mt10-rand'"):
        load_benchmark("mt10-ran")


@pytest.mark.parametrize("workers", [1, 2, 3, 10])
@pytest.mark.parametrize("names", [tuple(MT10_V3), tuple(MT50_V3)])
def test_workers_share_all_tasks_about_equally(names: tuple[str, ...], workers: int) -> None:
    shares = share_out(names, workers)
    assert sorted(task for share in shares for task in share) == list(range(len(names)))
    assert min(map(len, shares)) >= len(names) // workers - 2
    assert all(share for share in shares)


def test_the_goal_is_part_of_the_observation() -> None:
    for env in (make_stock("reach-v3"), make_fast("reach-v3")):
        env._last_rand_vec = env._random_reset_space.high.copy()
        assert env.reset()[0][36:].tolist() == env._target_pos.tolist()


def test_an_unknown_task_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match="did you mean 'reach-v3'"):
        make_fast("reach-v2")
