"""With a policy lag of 1 the update runs while the environments step: later by one step, and just as exact."""

from __future__ import annotations

from pathlib import Path

import pytest

from d2r.config import RunConfig
from d2r.training.loop import Cohort
from d2r.training.run import Machine
from d2r.training.train import train
from tests.support.interruptions import Interrupted, interrupt_at
from tests.support.tiny import BENCHMARK

OUTPUTS = ("metrics.csv", "routes.csv", "evaluation.csv", "policy.safetensors")


def lagging(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"protocol": config.protocol.model_copy(update={"policy_lag": 1})})


def outputs(results: Path, config: RunConfig) -> dict[str, bytes]:
    folder = results / "runs" / BENCHMARK / config.method / "seed1"
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


def updates_known_when_acting(config: RunConfig, results: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many updates the policy has had at each step."""
    known: list[int] = []
    act = Cohort.act
    with monkeypatch.context() as patch:
        patch.setattr(Cohort, "act", lambda run: (known.append(run.updates), act(run))[1])
        assert train(config, results, Machine()) == 0
    return known


def test_the_acting_policy_trails_by_one_update(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = updates_known_when_acting(config, tmp_path / "prompt", monkeypatch)
    late = updates_known_when_acting(lagging(config), tmp_path / "late", monkeypatch)
    assert prompt[-1] > 2
    assert late == [0, *prompt[:-1]]


def test_neither_workers_nor_interruptions_change_the_result(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = lagging(config)
    assert train(config, tmp_path / "undisturbed", Machine()) == 0
    interrupt_at(monkeypatch, {13, 33, 59})
    for workers in (2, 0, 1):
        with pytest.raises(Interrupted):
            train(config, tmp_path / "interrupted", Machine(workers=workers))
    assert train(config, tmp_path / "interrupted", Machine(workers=2)) == 0
    assert outputs(tmp_path / "interrupted", config) == outputs(tmp_path / "undisturbed", config)


def test_every_update_is_made(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    finish = Cohort._finish
    monkeypatch.setattr(Cohort, "_finish", lambda run: (made.append(run.updates), finish(run))[1])
    for results, one in (("prompt", config), ("late", lagging(config))):
        assert train(one, tmp_path / results, Machine()) == 0
    assert made[0] == made[1] > 0
