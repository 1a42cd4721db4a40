"""A run that starts from another: what it takes over, what it keeps, how it goes on, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from d2r.cli.main import main
from d2r.config import RunConfig, changed_method, identity, load_scale, resolve_run
from d2r.networks.parts import tensors_by_task
from d2r.networks.registry import build_actor, build_critics
from d2r.runs.folders import RunFolders
from d2r.runs.layout import LEARNER
from d2r.runs.record import read_run
from d2r.training.learner_file import export_learner
from d2r.training.loop import Cohort
from d2r.training.run import Machine
from d2r.training.seeding import Stream, torch_generator
from d2r.training.signals import StopRequest
from d2r.training.train import train, train_together
from tests.support.interruptions import Interrupted, interrupt_at
from tests.support.projects import forget_configuration

BUDGET = """\
  mt10: {steps: 60, warmup_steps: 10, update_every: 2, replay_capacity: 60, evaluate_every: 30, checkpoint_every: 10,
         evaluation_episodes: 1}
  transfer-near: {steps: 60, warmup_steps: 10, update_every: 2, replay_capacity: 60, evaluate_after: [0, 1, 3],
                  checkpoint_every: 10, evaluation_episodes: 1}
"""
SOURCE, NEAR = "mt10-fixed", "transfer-near-fixed"


@pytest.fixture(autouse=True)
def short(project: Path) -> Path:
    """The scale ``tiny`` with runs of three episodes."""
    path = project / "config/scales/tiny.yaml"
    sizes = path.read_text().partition("  mt10:")[0].replace("width: 0.05", "width: 0.2")
    path.write_text(sizes + BUDGET)
    forget_configuration()
    return project


@pytest.fixture
def results(project: Path) -> Path:
    return project / "results/tiny"


def config(method: str, benchmark: str = NEAR, adapt: str | None = None, seed: int = 1) -> RunConfig:
    """A run of its own, or one that starts from the method's on MT10."""
    values: dict[str, Any] = {"start_from": f"tiny.{SOURCE}.{method}", "adapt": adapt} if adapt else {}
    return resolve_run(load_scale("tiny"), benchmark, changed_method(method, values, "--set"), seed)


def source(method: str, results: Path, seed: int = 1) -> Path:
    """The folder of a finished run, with its learner."""
    begun = config(method, SOURCE, seed=seed)
    assert train(begun, results, Machine()) == 0
    folder = RunFolders(results, begun).published
    export_learner(folder)
    return folder


def begun(run: RunConfig, results: Path) -> Cohort:
    folders = RunFolders(results, run)
    folders.create()
    return Cohort([run], [folders], Machine(), StopRequest())


@pytest.mark.parametrize("method", ["d2r", "mtsac", "mtsac-matched", "mtmhsac", "paco"])
def test_what_is_shared_is_taken_over_and_what_is_of_new_tasks_is_as_drawn(
    method: str, results: Path
) -> None:
    given = load_file(source(method, results) / LEARNER)
    run = config(method, adapt="all")
    cohort = begun(run, results)
    initial = torch_generator(run.seed, Stream.INITIALISATION)
    fresh = {"actor": build_actor(run.network, 5, initial), "critics": build_critics(run.network, 5, initial)}
    fresh["targets"] = fresh["critics"]
    for of, network in fresh.items():
        now = getattr(cohort.learner, of).state_dict()
        by_task = tensors_by_task(network)
        for name, drawn in network.state_dict().items():
            there, place = given[f"{of}.{name}"], by_task.get(name)
            if place is None:
                assert torch.equal(now[name], there), name
                continue
            assert torch.equal(place.shared(now[name]), place.shared(there)), name
            for task in range(5):
                assert torch.equal(place.of(now[name], task), place.of(drawn, task)), name
    assert not cohort.learner.log_alpha.any()
    assert cohort.learner.optimiser.state_dict() == {"state": {}}
    cohort.close()


def test_tasks_that_both_have_keep_what_is_theirs(results: Path, project: Path) -> None:
    given = load_file(source("mtsac", results) / LEARNER)
    path = project / "config/benchmarks/transfer-near-fixed.yaml"
    path.write_text(path.read_text().partition("tasks:")[0] + "tasks: [door-close-v3, push-v3]\n")
    (project / "config/benchmarks/transfer-near-rand.yaml").unlink()
    forget_configuration()
    run = config("mtsac", adapt="new-task")
    cohort = begun(run, results)
    first, there = cohort.learner.actor.first.weight, given["actor.first.weight"]
    assert torch.equal(first[..., 39 + 1], there[..., 39 + 1]), "push is the second task of both"
    assert not torch.equal(first[..., 39], there[..., 39])
    assert cohort.learner.log_alpha[0].tolist() == [0.0, given["log_alpha"][1].item()]
    assert cohort.learner.adaptation.new_tasks == (0,)
    cohort.close()


@pytest.mark.parametrize("method", ["d2r", "mtmhsac", "paco"])
def test_with_a_rate_of_zero_it_evaluates_as_its_source(method: str, results: Path) -> None:
    folder = source(method, results)
    run = config(method, SOURCE, adapt="all")
    still = run.sac.model_copy(update={"lr_actor": 0.0})
    run = run.model_copy(update={"sac": still})
    assert train(run, results, Machine()) == 0
    published = RunFolders(results, run).published
    assert (published / "evaluation.csv").read_bytes() == (folder / "evaluation.csv").read_bytes()
    own, there = load_file(published / "policy.safetensors"), load_file(folder / "policy.safetensors")
    assert own.keys() == there.keys()
    assert all(torch.equal(own[name], there[name]) for name in own)


@pytest.mark.parametrize("adapt", ["all", "router", "new-task"])
def test_it_goes_on_after_a_kill_as_if_there_had_been_none(
    adapt: str, results: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source("d2r", results)
    run = config("d2r", adapt=adapt)
    whole = project / "results/whole"
    shutil.copytree(results, whole / "tiny")
    assert train(run, whole / "tiny", Machine()) == 0
    interrupt_at(monkeypatch, {5, 35})
    for _ in range(2):
        with pytest.raises(Interrupted):
            train(run, results, Machine())
    shutil.rmtree(results / "runs" / SOURCE)  # a run that is under way no longer needs it
    assert train(run, results, Machine()) == 0
    ends = [RunFolders(folder, run).published for folder in (results, whole / "tiny")]
    for name in ("metrics.csv", "evaluation.csv", "policy.safetensors", "routes.csv"):
        first, other = ((end / name).read_bytes() for end in ends)
        assert first == other, name
    records = [read_run(end) for end in ends]
    assert records[0].source == records[1].source is not None


def test_seeds_side_by_side_start_from_their_own_sources(results: Path, project: Path) -> None:
    for seed in (1, 2):
        source("d2r", results, seed)
    runs = [config("d2r", adapt="router", seed=seed) for seed in (1, 2)]
    alone = project / "results/alone/tiny"
    shutil.copytree(results, alone)
    assert train_together(runs, results, Machine()) == 0
    for run in runs:
        assert train(run, alone, Machine()) == 0
        together, by_itself = (RunFolders(folder, run).published for folder in (results, alone))
        assert (together / "policy.safetensors").read_bytes() == (
            by_itself / "policy.safetensors"
        ).read_bytes()
        assert read_run(together).source == read_run(by_itself).source
    assert len({read_run(RunFolders(results, run).published).source for run in runs}) == 2


def test_it_is_evaluated_before_its_first_step_and_after_the_episodes_asked_for(results: Path) -> None:
    source("mtsac", results)
    run = config("mtsac", adapt="all")
    assert list(run.evaluation_steps) == [0, 20, 60]
    assert train(run, results, Machine()) == 0
    metrics = pd.read_csv(RunFolders(results, run).published / "metrics.csv")
    assert sorted(metrics[metrics.quantity == "success"].step.unique()) == [0, 20, 60]


def test_another_source_makes_another_run(project: Path) -> None:
    before = config("mtsac", adapt="all")
    afresh = config("mtsac")
    path = project / "config/scales/tiny.yaml"
    path.write_text(path.read_text().replace("mt10: {steps: 60", "mt10: {steps: 80"))
    forget_configuration()
    assert identity(config("mtsac", adapt="all")) != identity(before)
    assert identity(config("mtsac")) == identity(afresh)


TRAIN = ["train", "--scale", "tiny", "--benchmark", NEAR, "--seed", "1"]


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command says that ends with exit status 2, in one line."""
    capsys.readouterr()
    assert main([*TRAIN, *words]) == 2
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert "finished" not in out
    return err


FROM = ["--set", f"start_from=tiny.{SOURCE}.mtsac", "--set", "adapt=all"]


def test_a_source_that_is_not_there_gets_one_line(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "--method", "mtsac", *FROM)
    assert f"the run to start from is not there; train tiny/{SOURCE}/mtsac/seed1 first" in said


def test_a_source_without_its_learner_gets_one_line(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source("mtsac", results) / LEARNER).unlink()
    assert "learner.safetensors: is missing; `d2r export learner" in refused(
        capsys, "--method", "mtsac", *FROM
    )


def test_a_damaged_learner_gets_one_line(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = source("mtsac", results) / LEARNER
    whole = path.read_bytes()
    place = len(whole) - 10
    for content, says in (
        (whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :], "does not have the sha256"),
        (whole[:place], "is no learner"),
        (b"", "is no learner"),
        (whole.replace(b"__metadata__", b"__matedata__"), "is no learner"),
    ):
        path.write_bytes(content)
        assert says in refused(capsys, "--method", "mtsac", *FROM)


def test_a_learner_of_another_run_gets_one_line(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (source("mtsac", results, seed) for seed in (1, 2))
    shutil.copy(second / LEARNER, first / LEARNER)
    assert "is of another run than lies here" in refused(capsys, "--method", "mtsac", *FROM)


def test_a_source_of_other_sizes_gets_one_line(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source("mtsac", results)
    for other in (
        ["mtmhsac"],
        ["mtsac", "--set", "network.hidden_dim=200"],
        ["mtsac", "--set", "network.num_layers=4"],
    ):
        assert "is of other sizes than this run's" in refused(capsys, "--method", *other, *FROM)


def test_a_source_of_another_configuration_gets_one_line(
    results: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source("mtsac", results)
    path = project / "config/scales/tiny.yaml"
    path.write_text(path.read_text().replace("batch_per_task: 4", "batch_per_task: 8"))
    forget_configuration()
    assert "another configuration than scale 'tiny' now states" in refused(capsys, "--method", "mtsac", *FROM)


def test_a_network_without_a_router_gets_one_line(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--set", f"start_from=tiny.{SOURCE}.mtsac", "--set", "adapt=router"]
    said = refused(capsys, "--method", "mtsac", *words)
    assert "adapt: router needs a routing network" in said
    assert not results.exists()


def test_a_learner_comes_from_the_last_checkpoint_alone(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = source("mtsac", results)
    first = (folder / LEARNER).read_bytes()
    assert main(["export", "learner", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(folder / LEARNER)
    assert (folder / LEARNER).read_bytes() == first, "the same bytes at any time"
    (state,) = (results / "state").rglob("state-*.pt")
    state.write_bytes(state.read_bytes()[:-1])
    assert main(["export", "learner", str(folder)]) == 2
    assert "no learner can be taken from the last checkpoint" in capsys.readouterr().err
    shutil.rmtree(results / "state")
    assert main(["export", "learner", str(folder)]) == 2
    assert "the last checkpoint, which a learner is taken from, is not there" in capsys.readouterr().err


def test_a_run_of_its_own_says_nothing_of_a_source(results: Path) -> None:
    folder = source("mtsac", results)
    assert "source" not in json.loads((folder / "run.json").read_text())
