"""A published policy evaluated again: what counts as reproduced, and what is no published run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from d2r.cli.main import main
from d2r.runs.record import record_bytes
from d2r.verify.policy import _rates
from tests.support.targets import World, make_world

LEVEL = 0.05 / 11
"""Of each test on MT10: its tasks, and all of them together."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A run that was trained and released."""
    with make_world(tmp_path_factory.mktemp("world")) as made:
        yield made


def outcome(world: World, results: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status, and the last line that was printed."""
    status = main(["evaluate", str(world.key.folder(results))])
    captured = capsys.readouterr()
    return status, (captured.out + captured.err).splitlines()[-1]


def test_an_untouched_run_is_reproduced_exactly(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(world, world.results, capsys) == (0, "reproduced exactly")


def test_a_release_that_was_copied_elsewhere_is_evaluated_too(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(world.released, tmp_path / "copy"))
    assert outcome(world, copy, capsys) == (0, "reproduced exactly")


def other_return(content: str) -> str:
    head, first, *rest = content.splitlines()
    task, episode, success, _ = first.split(",")
    return "\n".join([head, f"{task},{episode},{success},1.5", *rest, ""])


def test_other_returns_are_not_reproduced_exactly(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    content = other_return((world.run / "evaluation.csv").read_text())
    results = world.copy_of_run("evaluation.csv", content.encode())
    assert outcome(world, results, capsys) == (0, "success reproduced exactly, returns differ")


def success_everywhere(content: str) -> str:
    head, *rows = content.splitlines()
    return "\n".join([head, *(",".join([*row.split(",")[:2], "1", "1.5"]) for row in rows), ""])


def test_success_that_an_untrained_policy_has_not_is_not_reproduced(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    content = success_everywhere((world.run / "evaluation.csv").read_text())
    results = world.copy_of_run("evaluation.csv", content.encode())
    assert outcome(world, results, capsys) == (1, "NOT reproduced")


def test_a_few_more_successes_on_every_task_are_not_reproduced_though_each_alone_could_be_chance() -> None:
    before, now = [False] * 4 + [True], np.array([True] * 4 + [False])
    one = _rates(before, now, LEVEL)
    assert one["low"] <= one["now"] <= one["high"]
    ten = _rates(before * 10, np.tile(now, 10), LEVEL)
    assert ten["now"] > ten["high"]


@pytest.mark.parametrize("episodes", [5, 32])
def test_a_single_episode_that_comes_out_otherwise_is_chance(episodes: int) -> None:
    for won in range(episodes):
        fewer, more = ([True] * n + [False] * (episodes - n) for n in (won, won + 1))
        for before, now in ((fewer, more), (more, fewer)):
            rates = _rates(before, np.array(now), LEVEL)
            assert rates["low"] <= rates["now"] <= rates["high"]


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_the_same_policy_is_rarely_told_from_itself(rate: float) -> None:
    """Of experiments on ten tasks with 32 episodes each, at most 5 % may go wrong."""
    rng, wrong = np.random.default_rng(7), 0
    for _ in range(20):
        first, second = rng.random((2, 10, 32)) < rate
        pairs = [*zip(first, second, strict=True), (first.ravel(), second.ravel())]
        rates = [_rates(before.tolist(), now, LEVEL) for before, now in pairs]
        wrong += any(not one["low"] <= one["now"] <= one["high"] for one in rates)
    assert wrong <= 1


def doubled(content: str) -> str:
    head, *rows = content.splitlines()
    return "\n".join([head, *rows, *rows, ""])


def success_of_two(content: str) -> str:
    head, first, *rest = content.splitlines()
    task, episode, _, returned = first.split(",")
    return "\n".join([head, f"{task},{episode},2,{returned}", *rest, ""])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (doubled, "episodes of each task of mt10-rand"),
        (success_of_two, "not an evaluation file"),
        (lambda content: content.replace("reach-v3", "reach-v9"), "episodes of each task of mt10-rand"),
    ],
)
def test_other_episodes_than_the_run_has_are_refused(
    change: Callable[[str], str], complaint: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    content = change((world.run / "evaluation.csv").read_text())
    status, message = outcome(world, world.copy_of_run("evaluation.csv", content.encode()), capsys)
    assert status == 2
    assert complaint in message


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"schema": 99}, "'schema'"),
        ({"seed": 2}, "'seed' is not that of its configuration"),
        ({"method": "d2r"}, "'method' is not that of its configuration"),
        ({"benchmark": "mt10-fixed"}, "'benchmark' is not that of its configuration"),
        ({"benchmark": "../../etc"}, "'benchmark' is missing or not what training writes"),
    ],
)
def test_a_sealed_record_that_contradicts_itself_is_refused(
    changes: dict[str, object], complaint: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    results = world.copy_of_run("run.json", record_bytes(world.record() | changes))
    status, message = outcome(world, results, capsys)
    assert status == 2
    assert complaint in message
