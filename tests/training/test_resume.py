"""A run that is interrupted and goes on is, to the last bit, the run that was never interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from d2r.algorithms.execution import Execution
from d2r.config import RunConfig, config_hash, load_scale, resolve_run
from d2r.errors import UserError
from d2r.files import sha256
from d2r.training.checkpoint import Manifest
from d2r.training.loop import TIDY, Machine, Run
from d2r.training.rundir import CONFIG
from d2r.training.train import train
from tests.faults.tiny import BENCHMARK, assert_equal


class Interrupted(BaseException):
    """Stands for anything that ends a process without warning."""


def interrupt_at(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Let a run end without warning when it has taken so many steps, once for each."""
    take_step = Run.take_step

    def take_step_or_end(run: Run) -> None:
        take_step(run)
        if run.step in steps:
            steps.remove(run.step)
            raise Interrupted

    monkeypatch.setattr(Run, "take_step", take_step_or_end)


def everything(run: Run) -> dict[str, Any]:
    """All that the rest of a run could depend on, and what it has written."""
    environment = run.env.state_dict()
    return {
        "learner": run.learner.state_dict(),
        "replay": (run.replay.total, run.replay.export(run.replay.total - len(run.replay), run.replay.total)),
        "generators": (run.acting.get_state(), run.learning.get_state()),
        "environment": {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in environment.items()},
        "observations": run.observations.tolist(),
        "counts": (run.step, run.updates, run.evaluated),
        "files": {name: run.tidy[name].path.read_bytes() for name in ("metrics.csv", "routes.csv")},
    }


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Everything that each run held when it had taken its last step."""
    seen: list[dict[str, Any]] = []
    publish = Run.publish

    def look_and_publish(run: Run, *arguments: Any) -> None:
        seen.append(everything(run))
        publish(run, *arguments)

    monkeypatch.setattr(Run, "publish", look_and_publish)
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
    monkeypatch.setattr(Run, "_restore", lambda run, state: restore(run, state | {"learner": {}}))
    with pytest.raises(UserError, match="does not fit this version"):
        train(config, tmp_path, Machine())


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


@pytest.mark.parametrize(
    "change",
    [
        {"environment_actions": [1, 2]},
        {"tidy": {name: {"text": 3} for name in TIDY}},
        {"execution": {"x": 1}},
    ],
)
def test_a_state_of_other_types_leaves_the_checkpoint_before(
    change: dict[str, Any],
    config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = checkpoints_of_interrupted(config, tmp_path / "changed", monkeypatch)
    newest = max(folder.glob("checkpoint-*.json"))
    manifest = Manifest.read(newest)
    state = torch.load(folder / manifest.state, weights_only=True) | change
    torch.save(state, folder / manifest.state)
    files = manifest.files | {manifest.state: sha256(folder / manifest.state)}
    newest.write_bytes(manifest._replace(files=files).to_bytes())
    assert train(config, tmp_path / "changed", Machine()) == 0
    assert "checkpoint 000000000030 does not fit this version and was passed over" in capsys.readouterr().err
    assert train(config, tmp_path / "undisturbed", Machine()) == 0
    assert_equal(ends[0], ends[1])
