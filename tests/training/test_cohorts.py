"""Runs side by side are the runs that they are alone: what each leaves, whatever happens to the others."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from d2r.cli.main import main
from d2r.config import RunConfig, load_scale, resolve_run
from d2r.errors import RunFailure
from d2r.kernel.library import implementation
from d2r.runs.folders import RunFolders
from d2r.training.loop import Cohort
from d2r.training.run import Machine, Run
from d2r.training.train import train, train_together
from tests.support.interruptions import Interrupted
from tests.support.tiny import BENCHMARK, Training, assert_equal

SEEDS = (1, 2, 3)
needs_library = pytest.mark.skipif(
    implementation() != "compiled", reason="PyTorch's batched products round by how many there are"
)


def configs(method: str = "d2r", *seeds: int) -> list[RunConfig]:
    """Runs that take a second: 60 steps, a checkpoint every 10."""
    changes = {"steps": 60, "evaluate_every": 30}
    return [resolve_run(load_scale("tiny"), BENCHMARK, method, seed, changes) for seed in seeds or SEEDS]


def left(results: Path, config: RunConfig) -> dict[str, Any]:
    """All that a finished run leaves, but times, processes, and beside whom it was trained."""
    training = Training(results.parents[1], config.method)
    assert training.results == results
    return training.end_state(config.seed)


@pytest.fixture
def alone(tmp_path: Path) -> dict[int, dict[str, Any]]:
    """What each seed leaves that was trained alone."""
    for config in configs():
        assert train(config, tmp_path / "alone/results/tiny", Machine()) == 0
    return {config.seed: left(tmp_path / "alone/results/tiny", config) for config in configs()}


def spoil(monkeypatch: pytest.MonkeyPatch, seed: int, step: int) -> None:
    """Let an action of a seed be no number at a step."""
    act = Cohort.act

    def spoilt(cohort: Cohort) -> Any:
        action, sources = act(cohort)
        for place, run in enumerate(cohort.runs):
            if run.config.seed == seed and cohort.step == step:
                action[place, 4, 0] = float("nan")
        return action, sources

    monkeypatch.setattr(Cohort, "act", spoilt)


def end_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int | None = None) -> None:
    """Let a cohort get a signal, or end without warning, when it has taken so many steps."""
    take_step = Cohort.take_step

    def take_step_and_end(cohort: Cohort) -> None:
        take_step(cohort)
        if cohort.step == step:
            if number is None:
                raise Interrupted
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Cohort, "take_step", take_step_and_end)


@needs_library
@pytest.mark.parametrize("workers", [0, 3])
def test_each_seed_leaves_what_it_leaves_alone(
    alone: dict[int, dict[str, Any]], workers: int, tmp_path: Path
) -> None:
    """To the byte: files, record, training state; and the record says how many were trained together."""
    assert train_together(configs(), tmp_path / "results/tiny", Machine(workers=workers)) == 0
    for config in configs():
        assert_equal(left(tmp_path / "results/tiny", config), alone[config.seed])
        record = json.loads(
            (RunFolders(tmp_path / "results/tiny", config).published / "run.json").read_bytes()
        )
        assert (record["cohort"], record["workers"]) == (3, workers)


@needs_library
@pytest.mark.parametrize("stands_at", [{1: 23}, {1: 23, 2: 54}, {1: 54, 2: 23}, {3: 47}])
def test_seeds_that_stand_at_different_steps_between_evaluations(
    alone: dict[int, dict[str, Any]],
    stands_at: dict[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What a seed reports at the next evaluation is the mean over its own updates; a fresh one is not resumed."""
    for config in configs():
        with monkeypatch.context() as patch:
            if config.seed in stands_at:
                end_at(patch, stands_at[config.seed])
                with pytest.raises(Interrupted):
                    train(config, tmp_path / "results/tiny", Machine())
    capsys.readouterr()
    assert train_together(configs(), tmp_path / "results/tiny", Machine()) == 0
    said = capsys.readouterr().out
    for config in configs():
        assert_equal(left(tmp_path / "results/tiny", config), alone[config.seed])
        folders, resumed = RunFolders(tmp_path / "results/tiny", config), int(config.seed in stands_at)
        record = json.loads((folders.published / "run.json").read_bytes())
        assert (record["resumes"], len(record["earlier"])) == (resumed, resumed)
        assert said.count(f"seed{config.seed}: resumed at step") == resumed


@needs_library
def test_either_goes_on_from_the_others_checkpoint(
    alone: dict[int, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seed alone from a cohort's; then a cohort whose seeds stand at different steps, one of them finished."""
    with monkeypatch.context() as patch:
        end_at(patch, 33)
        with pytest.raises(Interrupted):
            train_together(configs(), tmp_path / "results/tiny", Machine())
    first, second, _ = configs()
    assert train(first, tmp_path / "results/tiny", Machine()) == 0
    with monkeypatch.context() as patch:
        end_at(patch, 47, signal.SIGTERM)
        assert train(second, tmp_path / "results/tiny", Machine()) == 143
    assert train_together(configs(), tmp_path / "results/tiny", Machine()) == 0
    for config in configs():
        assert_equal(left(tmp_path / "results/tiny", config), alone[config.seed])


@needs_library
def test_a_seed_whose_numbers_go_wrong_is_published_as_failed_and_the_others_go_on(
    alone: dict[int, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    spoil(monkeypatch, 2, 44)
    with pytest.raises(RunFailure, match=r"seed2: action of task .* is not finite at step 44"):
        train_together(configs(), tmp_path / "results/tiny", Machine(workers=2))
    first, second, third = configs()
    for config in (first, third):
        assert_equal(left(tmp_path / "results/tiny", config), alone[config.seed])
    record = json.loads((RunFolders(tmp_path / "results/tiny", second).published / "run.json").read_bytes())
    assert (record["status"], record["steps"], record["failure"]["step"]) == ("failed", 44, 44)
    capsys.readouterr()
    assert train_together(configs(), tmp_path / "results/tiny", Machine(), record_failure=True) == 0
    assert capsys.readouterr().out.count("already") == 3


@pytest.mark.parametrize("where", ["loss", "while environments step"])
def test_a_seed_may_go_wrong_in_an_update(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while worker processes step; it is published as it was before that update."""
    made = configs("mtsac")
    if where == "while environments step":
        lag = {"protocol": made[0].protocol.model_copy(update={"policy_lag": 1})}
        made = [config.model_copy(update=lag) for config in made]
    begin = Run.begin

    def begin_spoilt(run: Run, seat: Any) -> Any:
        found = begin(run, seat)
        if run.config.seed == 2 and found is None:
            with torch.no_grad():
                next(seat.learner.critics.parameters())[2 * seat.place].fill_(float("nan"))
        return found

    monkeypatch.setattr(Run, "begin", begin_spoilt)
    assert train_together(made, tmp_path, Machine(workers=2), record_failure=True) == 0
    statuses = {}
    for config in made:
        record = json.loads((RunFolders(tmp_path, config).published / "run.json").read_bytes())
        statuses[config.seed] = record["status"]
    assert statuses == {1: "finished", 2: "failed", 3: "finished"}


def test_a_signal_saves_every_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        end_at(patch, 25, signal.SIGTERM)
        assert train_together(configs("mtsac"), tmp_path, Machine()) == 143
    for config in configs("mtsac"):
        newest = max(RunFolders(tmp_path, config).checkpoints.glob("checkpoint-*.json"))
        assert newest.stem.endswith("025")
    assert train_together(configs("mtsac"), tmp_path, Machine()) == 0
    for config in configs("mtsac"):
        with (RunFolders(tmp_path, config).published / "metrics.csv").open() as file:
            assert {row["step"] for row in csv.DictReader(file)} == {"30", "60"}


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--scale", "tiny", "--benchmark", BENCHMARK, "--method", "mtsac", "--steps", "25"]
    command += ["--results", str(tmp_path)]
    assert main([*command, "--seeds", "4,7-8"]) == 0
    assert {path.parent.name for path in tmp_path.glob("runs/*/*/*/run.json")} == {"seed4", "seed7", "seed8"}
    capsys.readouterr()
    for seeds, says in (("1-", "such as 1-10"), ("3-1", "upwards"), ("1,1-2", "twice"), ("1-99", "64")):
        assert main([*command, "--seeds", seeds]) == 2
        assert says in capsys.readouterr().err
    assert main([*command, "--seeds", "1", "--seed", "2"]) == 2
