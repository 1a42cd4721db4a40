"""A whole small run: its counts, its files, its instruments, and that a seed means one result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from d2r.algorithms.sac import MultiTaskSAC
from d2r.config import load_method, load_scale, resolve_run
from d2r.config.networks import RoutedConfig
from d2r.networks.registry import build_actor, build_critics
from d2r.runs.folders import RunFolders
from d2r.runs.layout import OUTPUTS
from d2r.training.growth import Growth, grow, modules_in_use
from d2r.training.loop import Cohort
from d2r.training.run import Machine
from d2r.training.seeding import Stream, seed_sequence
from d2r.training.signals import StopRequest
from d2r.training.train import train

BUDGET = {"steps": 60, "warmup_steps": 20, "update_every": 4, "evaluate_every": 30, "checkpoint_every": 30}


def config(method: str = "d2r", benchmark: str = "mt10-rand", **budget: object) -> object:
    scale = load_scale("smoke")
    resolved = resolve_run(
        scale, benchmark, method, 3, BUDGET | {"evaluation_episodes": 1, "replay_capacity": 60} | budget
    )
    return resolved.model_copy(update={"protocol": resolved.protocol.model_copy(update={"horizon": 20})})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    assert train(config(), results, Machine()) == 0
    return results / "runs" / "mt10-rand" / "d2r" / "seed3"


def test_counts_and_record(finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["steps"] == 60
    assert record["updates"] == (60 - 20) // 4
    assert record["parameters"]["actor"] > 0
    assert set(record["outputs"]) == set(OUTPUTS)


def test_instruments_are_on_in_every_run(finished: Path) -> None:
    metrics = pd.read_csv(finished / "metrics.csv", keep_default_na=False)
    last = metrics[metrics.step == 60]
    per_task = set(last[last.task != ""].quantity)
    overall = set(last[last.task == ""].quantity)
    assert per_task >= {
        "success", "return", "alpha", "route_temperature", "modules_used", "depth", "route_entropy", "top1_share",
        "route_change", "agreement", "blocked_share", "multiply_adds", "masked", "entropy",
    }  # fmt: skip
    assert overall >= {
        "route_jaccard", "gradient_cosine", "gradient_cosine_no_resrouting", "critic_gradient_cosine",
        "multiply_adds_dense", "module_grad_norm.1", "module_grad_norm.16", "grad_norm_actor",
        "route_state_information", "route_phase_information",
    }  # fmt: skip
    used = last[last.quantity == "modules_used"].value.astype(float)
    assert used.between(1, 16).all()
    spent = last[last.quantity == "multiply_adds"].value.astype(float)
    dense = float(last[last.quantity == "multiply_adds_dense"].value.iloc[0])
    assert (spent < dense + 16 * 2 * 16).all()


def test_routes_are_those_of_the_output(finished: Path) -> None:
    routes = pd.read_csv(finished / "routes.csv")
    assert (routes.weight > 0).all()
    into_output = routes[(routes.target == "out") & (routes.step == 60)].groupby("task").weight.sum()
    assert len(into_output) == 10
    assert into_output.between(0.999, 1.001).all()


def test_of_one_task_nothing_is_measured_between_tasks(tmp_path: Path) -> None:
    assert train(config(benchmark="mt1-reach-v3-rand"), tmp_path, Machine()) == 0
    metrics = pd.read_csv(tmp_path / "runs" / "mt1-reach-v3-rand" / "d2r" / "seed3" / "metrics.csv")
    assert set(metrics.task.dropna()) == {"reach-v3"}
    assert np.isfinite(metrics.value).all()
    assert not {"route_jaccard", "gradient_cosine"} & set(metrics.quantity)


def test_one_seed_one_result(finished: Path, tmp_path: Path) -> None:
    assert train(config(), tmp_path, Machine()) == 0
    again = tmp_path / "runs" / "mt10-rand" / "d2r" / "seed3"
    for name in OUTPUTS:
        if name != "timing.csv":
            assert (again / name).read_bytes() == (finished / name).read_bytes(), name


def test_streams_of_a_run_and_of_other_seeds_differ() -> None:
    states = [tuple(seed_sequence(seed, stream).generate_state(4)) for seed in range(5) for stream in Stream]
    assert len(set(states)) == len(states)


@pytest.mark.parametrize("actions", ["policy", "uniform"])
def test_warm_up_acts_as_configured_and_updates_nothing(actions: str, tmp_path: Path) -> None:
    run_config = config(warmup_actions=actions)
    folders = RunFolders(tmp_path, run_config)
    folders.create()
    with StopRequest() as stop:
        run = Cohort([run_config], [folders], Machine(), stop)
        before = [p.clone() for p in run.learner.actor.parameters()]
        for _ in range(20):
            run.take_step()
        assert run.updates == 0
        assert all(torch.equal(a, b) for a, b in zip(before, run.learner.actor.parameters(), strict=True))
        taken = run.replay.action[0, :20]
        # an untrained policy has standard deviation 1 before the squashing and so saturates; uniform actions do not
        assert (float(taken.abs().mean()) > 0.55) == (actions == "policy")
        for _ in range(8):
            run.take_step()
        assert run.updates == 2
        run.close()


def learner(method: str) -> MultiTaskSAC:
    chosen = load_method(method)
    sizes = {"module_dim": 8, "encoder_dim": 8, "router_dim": 8}
    generator = torch.Generator().manual_seed(0)
    network = chosen.network.model_copy(update=sizes)
    return MultiTaskSAC(build_actor(network, 2, generator), build_critics(network, 2, generator), chosen.sac)


def test_a_growing_network_is_published_as_it_was_evaluated_last(tmp_path: Path) -> None:
    growing = config("d2r-growing", evaluate_every=20)
    growing = growing.model_copy(
        update={"network": growing.network.model_copy(update={"growth_patience": 1})}
    )
    assert train(growing, tmp_path, Machine()) == 0
    folder = tmp_path / "runs" / "mt10-rand" / "d2r-growing" / "seed3"
    metrics = pd.read_csv(folder / "metrics.csv")
    used = metrics[metrics.quantity == "modules_in_use"].set_index("step").value.astype(int)
    assert used.to_dict() == {20: 4, 40: 4, 60: 5}, "the third evaluation finds what the second one added"
    assert int(load_file(folder / "policy.safetensors")["active"]) == 5


def test_late_evaluations_have_episodes_of_their_own(tmp_path: Path) -> None:
    """Ten evaluations: of the first two one episode of each task, of the last eight three."""
    short = config("mtsac", steps=50, warmup_steps=45, evaluate_every=5, late_evaluation_episodes=3)
    assert train(short, tmp_path, Machine()) == 0
    folder = tmp_path / "runs" / "mt10-rand" / "mtsac" / "seed3"
    metrics = pd.read_csv(folder / "metrics.csv", keep_default_na=False)
    timing = pd.read_csv(folder / "timing.csv")
    assert sorted(timing.step.unique()) == sorted(metrics.step.unique()) == list(range(5, 55, 5))
    episodes = [short.evaluation_episodes_at(step) for step in range(5, 55, 5)]
    assert episodes == [1] * 2 + [3] * 8
    success = metrics[metrics.quantity == "success"].astype({"value": float})
    assert (success[success.step <= 10].value % 1 == 0).all()
    evaluation = pd.read_csv(folder / "evaluation.csv")
    assert (evaluation.groupby("task").size() == 3).all()
    published = evaluation.groupby("task")["return"].mean().sort_index()
    returned = metrics[(metrics.quantity == "return") & (metrics.step == 50)].set_index("task").value
    assert np.allclose(returned.astype(float).sort_index(), published)


def test_growth_waits_for_success_to_stop_rising() -> None:
    assert isinstance(load_method("d2r-growing").network, RoutedConfig)
    growth, growing = Growth(patience=2), learner("d2r-growing")
    sizes = []
    for success in (0.1, 0.2, 0.2, 0.1, 0.2, 0.2, 0.3, 0.3):
        if growth.is_due(success):
            assert grow(growing, 0)
        sizes.append(modules_in_use(growing, 0))
    assert sizes == [4, 4, 4, 5, 5, 6, 6, 6]
    resumed = Growth(patience=2)
    resumed.load_state_dict(growth.state_dict())
    assert resumed.is_due(0.3), "the second evaluation without a rise was counted before the restart"


def test_growth_on_schedule_does_not_look_at_success() -> None:
    growth = Growth(2, "schedule")
    assert [growth.is_due(success) for success in (0.1, 0.2, 0.3, 0.3, 0.1)] == [
        False,
        True,
        False,
        True,
        False,
    ]
    resumed = Growth(2, "schedule")
    resumed.load_state_dict(growth.state_dict())
    assert resumed.is_due(0.9)
