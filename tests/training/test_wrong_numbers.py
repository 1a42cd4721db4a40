"""Numbers that go wrong stop a run with a diagnosis, leave a checkpoint from before, and are published as a failure."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from d2r.algorithms.replay import Replay
from d2r.algorithms.sac import MultiTaskSAC, UpdateInfo
from d2r.config import RunConfig, load_scale, resolve_run
from d2r.envs.stepping import FastSawyer
from d2r.envs.vector import MetaWorldVectorEnv
from d2r.errors import RunFailure
from d2r.findings.collect import collect
from d2r.training.checkpoint import CheckpointStore
from d2r.training.loop import Cohort
from d2r.training.run import Machine
from d2r.training.train import train
from tests.support.tiny import BENCHMARK

STEP, TASK = 33, 3


def bad_observation(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    end_step = MetaWorldVectorEnv.end_step
    calls = iter(range(1, 10**6))

    def spoilt(env: MetaWorldVectorEnv) -> object:
        result = end_step(env)
        if not env._evaluation and next(calls) == STEP:
            result.observations[TASK, 5] = value
        return result

    monkeypatch.setattr(MetaWorldVectorEnv, "end_step", spoilt)


def bad_reward(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    end_step = MetaWorldVectorEnv.end_step
    calls = iter(range(1, 10**6))

    def spoilt(env: MetaWorldVectorEnv) -> object:
        result = end_step(env)
        if not env._evaluation and next(calls) == STEP:
            result.rewards[TASK] = value
        return result

    monkeypatch.setattr(MetaWorldVectorEnv, "end_step", spoilt)


def bad_action(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    act = Cohort.act

    def spoilt(run: Cohort) -> object:
        action, sources = act(run)
        if run.step == STEP - 1:
            action[0, TASK, 0] = value
        return action, sources

    monkeypatch.setattr(Cohort, "act", spoilt)


def bad_loss(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    policy_loss = MultiTaskSAC.policy_loss

    def spoilt(learner: MultiTaskSAC, *arguments: object) -> object:
        loss, mean_log_prob = policy_loss(learner, *arguments)
        factor = torch.ones_like(loss)
        factor[:, TASK] = value
        return loss * factor, mean_log_prob

    monkeypatch.setattr(MultiTaskSAC, "policy_loss", spoilt)


def bad_gradient(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    backward = MultiTaskSAC.backward

    def spoilt(learner: MultiTaskSAC, *arguments: object) -> None:
        backward(learner, *arguments)
        gradient = next(learner.critics.parameters()).grad
        assert gradient is not None
        gradient.view(-1)[0] = value

    monkeypatch.setattr(MultiTaskSAC, "backward", spoilt)


@pytest.mark.parametrize("value", [float("nan"), -float("inf")])
@pytest.mark.parametrize(
    ("spoil", "quantity", "of_task", "step"),
    [
        (bad_observation, "observation or reward", True, STEP - 1),
        (bad_reward, "observation or reward", True, STEP - 1),
        (bad_action, "action", True, STEP - 1),
        (bad_loss, "loss", True, 22),
        (bad_gradient, "gradient", False, 22),
    ],
)
def test_a_run_stops_with_a_diagnosis_and_a_checkpoint_from_before(
    spoil: Callable[[pytest.MonkeyPatch, float], None],
    quantity: str,
    of_task: bool,
    step: int,
    value: float,
    config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, value)
    with pytest.raises(RunFailure, match=f"{quantity}.* is not finite at step {step}"):
        train(config, tmp_path, Machine())
    (record_path,) = tmp_path.glob("runs/*/*/*/run.json")
    record = json.loads(record_path.read_bytes())
    assert record["status"] == "failed"
    failure = record["failure"]
    assert (failure["quantity"], failure["step"]) == (quantity, step)
    assert (failure["task"] is not None) == of_task
    (folder,) = (path.parent for path in tmp_path.glob("state/*/*/*/*/metrics.csv"))
    replay = Replay(config.budget.replay_capacity, config.protocol.horizon, config.num_tasks, True, None)
    state, notes = CheckpointStore(folder).load(replay.ring(0))
    assert state is not None
    assert notes == []
    assert state["step"] == step // 10 * 10
    assert all(torch.isfinite(tensor).all() for tensor in state["learner"]["actor"].values())


def test_a_network_whose_parameters_are_no_numbers_is_diagnosed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Cohort._begin

    def begin_spoilt(run: Cohort) -> object:
        with torch.no_grad():
            for parameter in run.learner.critics.parameters():
                parameter.fill_(float("nan"))
        return begin(run)

    monkeypatch.setattr(Cohort, "_begin", begin_spoilt)
    config = resolve_run(load_scale("tiny"), BENCHMARK, "d2r", 1)
    with pytest.raises(RunFailure, match="loss of task reach-v3 is not finite"):
        train(config, tmp_path, Machine())


def test_a_run_that_fails_at_its_first_step_has_a_checkpoint_too(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cohort, "act", lambda run: (torch.full((1, 10, 4), float("nan")), None))
    with pytest.raises(RunFailure):
        train(config, tmp_path, Machine())
    assert list(tmp_path.glob("state/*/*/*/*/checkpoint-000000000000.json"))


def test_a_pipeline_goes_on_and_its_tables_mark_the_failure(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results" / "tiny"
    bad_observation(monkeypatch, float("nan"))
    assert train(config, results, Machine(), record_failure=True) == 0
    assert "observation or reward" in capsys.readouterr().err
    assert train(config, results, Machine(), record_failure=True) == 0, (
        "a failure is an outcome, and not tried again"
    )
    with (collect(results) / "runs.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["status"] == "failed"
    assert "is not finite" in row["failure"]


def test_exceptions_of_the_simulator_are_counted_and_shown(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = FastSawyer.step_moving
    calls = iter(range(10**6))

    def unstable(env: FastSawyer, *arguments: object) -> object:
        result = step(env, *arguments)
        env.unstable = next(calls) in (5, 15, 16)
        return result

    monkeypatch.setattr(FastSawyer, "step_moving", unstable)
    assert train(config, tmp_path, Machine()) == 0
    (record,) = tmp_path.glob("runs/*/*/*/run.json")
    assert json.loads(record.read_bytes())["simulator_exceptions"] == 3
    with (record.parent / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"] == "simulator_exceptions"]
    last = [int(row["value"]) for row in rows if row["step"] == str(config.budget.steps)]
    assert np.sum(last) == 3
    assert len(last) == 10


def test_large_losses_are_numbers(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their sum is none in float32, but each is."""
    check = MultiTaskSAC.check

    def enlarged(learner: MultiTaskSAC, info: UpdateInfo, flags: Tensor) -> bool:
        huge = torch.full_like(info.losses.policy, 3e38)
        enlarged = info._replace(losses=info.losses._replace(policy=huge))
        assert not enlarged.flags()[0].any()
        return check(learner, enlarged, enlarged.flags())

    monkeypatch.setattr(MultiTaskSAC, "check", enlarged)
    assert train(config, tmp_path, Machine()) == 0
