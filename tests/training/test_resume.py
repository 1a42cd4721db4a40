"""A run that is interrupted and goes on is, to the last bit, the run that was never interrupted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from d2r.algorithms.replay import Ring
from d2r.algorithms.sac import MultiTaskSAC
from d2r.config import RunConfig, config_hash, load_scale, resolve_run
from d2r.config.execution import Execution
from d2r.envs.slices import TaskSlice
from d2r.errors import UserError
from d2r.files import sha256
from d2r.runs.layout import CONFIG, GROWING
from d2r.training.checkpoint import Manifest
from d2r.training.instruments import Instruments
from d2r.training.loop import Cohort
from d2r.training.run import Machine, Run
from d2r.training.train import train
from tests.support.interruptions import Interrupted, interrupt_at
from tests.support.tiny import BENCHMARK, assert_equal


def everything(run: Cohort) -> dict[str, Any]:
    """All that the rest of a run could depend on, and what it has written."""
    (own,) = run.runs
    environment = own.env.state_dict()
    total = run.replay.total
    return {
        "learner": run.learner.state_dict(),
        "replay": (total, run.replay.ring(0).export(total - len(run.replay), total)),
        "generators": (own.acting.get_state(), own.learning.get_state()),
        "environment": {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in environment.items()},
        "observations": run.observations.tolist(),
        "counts": run.progress,
        "files": {name: own.tidy[name].path.read_bytes() for name in ("metrics.csv", "routes.csv")},
    }


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Everything that each run held when it had taken its last step."""
    seen: list[dict[str, Any]] = []
    finish = Cohort._finish

    def look_and_finish(run: Cohort) -> int:
        seen.append(everything(run))
        return finish(run)

    monkeypatch.setattr(Cohort, "_finish", look_and_finish)
    return seen


def checkpoints_of_interrupted(config: RunConfig, results: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Train a run that ends without warning after 35 steps, and return the folder of its checkpoints."""
    interrupt_at(monkeypatch, {35})
    with pytest.raises(Interrupted):
        train(config, results, Machine())
    (folder,) = (path.parent for path in results.glob("state/*/*/*/*/metrics.csv"))
    return folder


@pytest.mark.parametrize("method", ["mtsac", "d2r"])
@pytest.mark.usefixtures("project")
def test_interruptions_change_nothing(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: list[dict[str, Any]]
) -> None:
    # Before the first checkpoint after the start, in mid-episode, after the ring has begun to overwrite, near the end.
    budget = {"steps": 80, "evaluate_every": 30, "replay_capacity": 40}
    config = resolve_run(load_scale("tiny"), BENCHMARK, method, 1, budget)
    assert train(config, tmp_path / "undisturbed", Machine()) == 0
    interrupt_at(monkeypatch, {7, 33, 64, 79})
    for _ in range(4):
        with pytest.raises(Interrupted):
            train(config, tmp_path / "interrupted", Machine())
    assert train(config, tmp_path / "interrupted", Machine()) == 0
    assert_equal(ends[1], ends[0])
    place = f"runs/{BENCHMARK}/{method}/seed1"
    for name in ("metrics.csv", "routes.csv", "evaluation.csv", "policy.safetensors"):
        undisturbed, interrupted = (
            tmp_path / which / place / name for which in ("undisturbed", "interrupted")
        )
        assert undisturbed.read_bytes() == interrupted.read_bytes(), name


def damage_newest_state(folder: Path) -> None:
    path = max(folder.glob("state-*.pt"))
    path.write_bytes(path.read_bytes()[:-1])


def damage_metrics(folder: Path) -> None:
    (folder / "metrics.csv").write_bytes(b"step,task,quantity,value\nabc")


def damage_everything(folder: Path) -> None:
    for path in folder.glob("state-*.pt"):
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_newest_state, "000000000030 is damaged and was passed over"),
        (damage_metrics, "metrics.csv was damaged and restored from the checkpoint"),
        (damage_everything, "no checkpoint is whole; starting again"),
    ],
)
def test_damage_costs_time_and_no_bytes(
    damage: Callable[[Path], None],
    said: str,
    config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = checkpoints_of_interrupted(config, tmp_path / "damaged", monkeypatch)
    damage(folder)
    assert train(config, tmp_path / "damaged", Machine()) == 0
    assert said in capsys.readouterr().err
    assert train(config, tmp_path / "undisturbed", Machine()) == 0
    assert_equal(ends[0], ends[1])


def test_a_checkpoint_of_another_version_is_one_line(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(monkeypatch, {12})
    with pytest.raises(Interrupted):
        train(config, tmp_path, Machine())
    restore = Run._restore
    monkeypatch.setattr(Run, "_restore", lambda run, state, seat: restore(run, state | {"learner": {}}, seat))
    with pytest.raises(UserError, match="does not fit this version"):
        train(config, tmp_path, Machine())


@pytest.mark.parametrize(
    ("owner", "name", "error"),
    [
        *(
            (MultiTaskSAC, "load_state_dict", e)
            for e in (AttributeError, TypeError, KeyError, ValueError, RuntimeError)
        ),
        (Instruments, "load_state_dict", AttributeError),
        (TaskSlice, "reenact", IndexError),
        (Ring, "restore", AttributeError),
    ],
)
def test_a_fault_of_our_own_while_a_checkpoint_is_restored_is_seen(
    owner: type,
    name: str,
    error: type[Exception],
    config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says nothing about the checkpoint, so the run must not go on from an older one or from the start."""
    folder = checkpoints_of_interrupted(config, tmp_path, monkeypatch)
    before = sorted(path.name for path in folder.iterdir())

    def fail(*arguments: Any) -> None:
        raise error("ours")

    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(error, match="ours"):
        train(config, tmp_path, Machine())
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_run_is_not_resumed_under_another_execution(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record could state only one of the two."""
    interrupt_at(monkeypatch, {33})
    with pytest.raises(Interrupted):
        train(config, tmp_path, Machine())
    with pytest.raises(
        UserError, match="was made with none of --compile, --graph, --autocast, --tf32; resume"
    ):
        train(config, tmp_path, Machine(execution=Execution(autocast="bf16")))
    assert train(config, tmp_path, Machine(threads=2)) == 0
    (path,) = tmp_path.glob("runs/*/*/*/run.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["resumes"] == 1
    (first,) = record["earlier"]
    assert (first["until_step"], first["threads"], record["threads"]) == (30, 1, 2)
    assert first["commit"] == record["commit"]
    assert record["execution"] == {"compile": False, "graph": False, "autocast": "none", "tf32": False}
    assert record["config_hash"] == config_hash(config)


def from_before_a_key(folder: Path, about: dict[str, Any]) -> None:
    """As if ``gradient_surgery`` had been added since, and the protocol been described in other words."""
    del about["config"]["sac"]["gradient_surgery"]
    about["config"]["protocol"]["description"] = "Said otherwise."
    about["config_hash"] = config_hash(about["config"])
    (folder / CONFIG).write_text(json.dumps(about), encoding="utf-8")


def from_before_configurations_were_noted(folder: Path, about: dict[str, Any]) -> None:
    """The first folders of training state said by their names alone what they were of."""
    (folder / CONFIG).unlink()
    folder.rename(folder.with_name(about["config_hash"][:12]))


def damaged(folder: Path, about: dict[str, Any]) -> None:
    (folder / CONFIG).write_bytes(b"{")


@pytest.mark.parametrize("change", [from_before_a_key, from_before_configurations_were_noted, damaged])
def test_a_state_of_the_same_run_is_resumed_however_it_says_so(
    change: Callable[[Path, dict[str, Any]], None],
    config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = checkpoints_of_interrupted(config, tmp_path / "older", monkeypatch)
    change(folder, json.loads((folder / CONFIG).read_bytes()))
    assert train(config, tmp_path / "older", Machine()) == 0
    assert "resumed at step 30" in capsys.readouterr().out
    assert train(config, tmp_path / "undisturbed", Machine()) == 0
    assert_equal(ends[0], ends[1])


def test_a_state_of_another_configuration_is_left_alone(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checkpoints_of_interrupted(config, tmp_path, monkeypatch)
    about = (folder / CONFIG).read_bytes()
    slower = config.model_copy(update={"sac": config.sac.model_copy(update={"lr_actor": 1e-5})})
    assert train(slower, tmp_path, Machine()) == 0
    assert "resumed" not in capsys.readouterr().out
    assert (folder / CONFIG).read_bytes() == about
    assert train(config, tmp_path, Machine()) == 0
    assert "resumed at step 30" in capsys.readouterr().out


def change_newest_state(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the newest state, with the hashes that make it believed."""
    newest = max(folder.glob("checkpoint-*.json"))
    manifest = Manifest.read(newest)
    path = folder / manifest.state
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    files, sizes = (
        manifest.files | {path.name: sha256(path)},
        manifest.sizes | {path.name: path.stat().st_size},
    )
    newest.write_bytes(manifest._replace(files=files, sizes=sizes).to_bytes())


def change_the_environment(state: dict[str, Any]) -> None:
    environment = json.loads(state["environment"])
    environment["seed"]["entropy"] = "7"
    state["environment"] = json.dumps(environment)


def change_a_moment(state: dict[str, Any]) -> None:
    moments = state["learner"]["optimiser"]["state"][0]
    moments["exp_avg"] = moments["exp_avg"][..., :1]


def change_a_goal(state: dict[str, Any]) -> None:
    environment = json.loads(state["environment"])
    environment["goals"][3] = {"stream": {}}
    state["environment"] = json.dumps(environment)


def change_a_weight(state: dict[str, Any]) -> None:
    name = min(state["learner"]["critics"])
    state["learner"]["critics"][name] = state["learner"]["critics"][name].double()


UNFIT: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda state: state.update(environment_actions=[1, 2]), "'environment_actions' in it is missing"),
    (lambda state: state.update(environment_actions=torch.zeros(3, 2)), "'actions' does not hold"),
    (lambda state: state.update(tidy={name: {"text": 3} for name in GROWING}), "'tidy.metrics.csv.text'"),
    (lambda state: state.update(tidy={}), "'tidy' in it does not hold this run's files"),
    (lambda state: state.update(execution={"x": 1}), "'execution.x'"),
    (lambda state: state.update(step=10**9), "this run ends at 60"),
    (lambda state: state.update(step="12"), "'step' in it is missing or no such thing"),
    (lambda state: state.update(acting=torch.zeros(5, dtype=torch.uint8)), "no state of a random generator"),
    (lambda state: state.update(environment="["), "'environment' in it is no state"),
    (lambda state: state.pop("learner"), "'learner' in it is missing"),
    (lambda state: state["learner"].update(log_alpha=torch.zeros(3)), "not of this run's tasks"),
    (lambda state: state["learner"]["actor"].popitem(), "'learner.actor' in it"),
    (lambda state: state["instruments"]["averages"].update(norms=torch.zeros(9)), "'instruments.averages'"),
    (lambda state: state["instruments"].update(growth={"best": 0.0, "waited": 1}), "of another method"),
    (change_a_weight, "'learner.critics' in it does not have the tensors"),
    (change_a_moment, "does not have the moments"),
    (change_a_goal, "a state of goals is none of this benchmark's"),
    (change_the_environment, "environment state is of another run: seed"),
]


@pytest.mark.parametrize(("change", "why"), UNFIT)
def test_a_state_of_another_run_leaves_the_checkpoint_before(
    change: Callable[[dict[str, Any]], object],
    why: str,
    config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = checkpoints_of_interrupted(config, tmp_path / "changed", monkeypatch)
    change_newest_state(folder, change)
    assert train(config, tmp_path / "changed", Machine()) == 0
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "checkpoint" in line]
    assert "checkpoint 000000000030 does not fit this version and was passed over: " in said
    assert why in said
    if change is change_a_goal:  # found last, when the rest has been put back
        assert train(config, tmp_path / "undisturbed", Machine()) == 0
        assert_equal(ends[0], ends[1])


def make_sparse(path: Path) -> None:
    os.truncate(path, 2**42)


def hollow(path: Path) -> None:
    """As long as before, and nothing in it."""
    size = path.stat().st_size
    path.write_bytes(b"")
    os.truncate(path, size)


@pytest.mark.parametrize("spoil", [make_sparse, hollow])
@pytest.mark.parametrize("kind", ["checkpoint-*30.json", "state-*30-*", "replay-*30-*", "metrics.csv"])
def test_a_sparse_file_in_the_place_of_any_is_passed_over(
    kind: str,
    spoil: Callable[[Path], None],
    config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A terabyte that is nowhere must be neither read nor hashed."""
    folder = checkpoints_of_interrupted(config, tmp_path / "spoilt", monkeypatch)
    for path in folder.glob(kind):
        spoil(path)
    assert train(config, tmp_path / "spoilt", Machine()) == 0
    said = capsys.readouterr().err
    if kind != "metrics.csv":
        assert "is damaged and was passed over" in said
    else:  # what comes after the rows of a checkpoint was written after it
        assert ("metrics.csv was damaged" in said) == (spoil is hollow)
    assert train(config, tmp_path / "undisturbed", Machine()) == 0
    assert_equal(ends[0], ends[1])


def test_what_is_no_file_of_ours_among_checkpoints_is_left_and_said(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checkpoints_of_interrupted(config, tmp_path, monkeypatch)
    (folder / "checkpoint-999999999999.json").mkdir()
    (folder / "state-of\nmind").mkdir()
    with (folder / "checkpoint-999999999998.json").open("wb") as file:
        file.truncate(2**42)
    assert train(config, tmp_path, Machine()) == 0
    said = capsys.readouterr().err
    for step in ("999999999998", "999999999999"):
        assert f"checkpoint {step} is damaged and was passed over" in said
    assert said.count("checkpoint-999999999999.json is no file of a checkpoint, cannot be removed") == 1
    assert "state-of\\nmind is no file of a checkpoint" in said
    assert not (folder / "checkpoint-999999999998.json").exists()


def test_a_checkpoint_of_the_format_before_is_gone_on_from(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It did not state how long files are."""
    folder = checkpoints_of_interrupted(config, tmp_path, monkeypatch)
    for path in folder.glob("checkpoint-*.json"):
        path.write_bytes(Manifest.read(path)._replace(sizes={}).to_bytes())
        assert b'"format": 3' in path.read_bytes()
    assert train(config, tmp_path, Machine()) == 0
    said = capsys.readouterr()
    assert "resumed at step 30" in said.out
    assert "passed over" not in said.err
