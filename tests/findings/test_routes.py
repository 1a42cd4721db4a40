"""Routes, failure signatures, difficulty, and d2r routes."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2r.cli import routes as routes_command
from d2r.config import config_hash
from d2r.errors import UserError
from d2r.findings.difficulty import (
    correlation_over_training,
    harder_half,
    hardness,
    task_difficulty,
    tasks_by_difficulty,
)
from d2r.findings.recorded_routes import used_modules
from d2r.findings.results import Results, load_results
from d2r.findings.signatures import SIGNATURES
from d2r.runs.record import record_bytes
from tests.support.synthetic import Plan

Make = Callable[[Plan], Path]
CHECKS = {signature.name: signature.check for signature in SIGNATURES}


def edges_of(pairs: list[tuple[str, int]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "target": [target for target, _ in pairs],
            "source": [str(source) for _, source in pairs],
            "weight": 1.0,
        }
    )


def test_used_modules_are_those_that_reach_the_output() -> None:
    edges = edges_of([("2", 1), ("3", 2), ("4", 1), ("5", 4), ("out", 4), ("out", 2)])
    assert used_modules(edges) == {"1", "2", "4"}
    assert used_modules(edges_of([("2", 1)])) == set()


@given(st.integers(2, 7), st.integers(0, 10_000))
def test_used_modules_against_trying_every_path(modules: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = [(str(t), s) for t in range(2, modules + 1) for s in range(1, t) if rng.random() < 0.4]
    pairs += [("out", s) for s in range(1, modules + 1) if rng.random() < 0.4]

    def reaches(module: int) -> bool:
        return any(s == module and (t == "out" or reaches(int(t))) for t, s in pairs)

    expected = {str(module) for module in range(1, modules + 1) if reaches(module)}
    assert used_modules(edges_of(pairs)) == expected


def with_metrics(results: Results, quantity: str, values: list[float], seed: int = 1) -> Results:
    """The same results with one quantity of D2R's run replaced, one value per evaluation."""
    rows = results.metrics
    steps = sorted(rows["step"].unique())
    keep = rows[(rows["quantity"] != quantity) | (rows["method"] != "d2r") | (rows["seed"] != seed)]
    key = {
        "scale": "smoke",
        "benchmark": "mt10-rand",
        "method": "d2r",
        "seed": seed,
        "protocol": "d2r-official",
    }
    new = pd.DataFrame(
        [
            {**key, "step": s, "task": "", "quantity": quantity, "value": v}
            for s, v in zip(steps, values, strict=True)
        ]
    )
    return replace(results, metrics=pd.concat([keep, new], ignore_index=True))


def test_each_failure_signature_is_seen_where_it_is_and_not_where_it_is_not(make_results: Make) -> None:
    healthy = load_results(make_results(Plan(benchmarks=("mt10-rand",), seeds=(1,), levels={"d2r": 0.5})))
    for name, check in CHECKS.items():
        finding = check(healthy, "mt10-rand", "d2r", 1)
        assert finding is not None, name
        assert not finding.present, name
    sick = {
        "one-route": with_metrics(healthy, "route_jaccard", [0.4, 0.6, 0.9, 0.99]),
        "uniform-routing": with_metrics(healthy, "route_entropy", [0.99] * 4),
        "disagreement-drop": with_metrics(
            with_metrics(healthy, "success", [0.2, 0.8, 0.6, 0.3]), "agreement", [0.9, 0.9, 0.5, 0.4]
        ),
        "starved-module": with_metrics(healthy, "module_grad_norm.3", [1e-6] * 4),
    }
    for name, results in sick.items():
        finding = CHECKS[name](results, "mt10-rand", "d2r", 1)
        assert finding is not None
        assert finding.present, (name, finding)
    starved = CHECKS["starved-module"](sick["starved-module"], "mt10-rand", "d2r", 1)
    assert starved is not None
    assert starved.names == {"weakest module": "3"}
    by_ten_points = with_metrics(
        with_metrics(healthy, "success", [0.1, 0.3, 0.2, 0.2]), "agreement", [0.9, 0.9, 0.5, 0.4]
    )
    finding = CHECKS["disagreement-drop"](by_ten_points, "mt10-rand", "d2r", 1)
    assert finding is not None
    assert finding.present, "0.3 - 0.2 is a hair below 0.1 in binary"
    falling_but_agreeing = with_metrics(healthy, "success", [0.2, 0.8, 0.6, 0.3])
    finding = CHECKS["disagreement-drop"](falling_but_agreeing, "mt10-rand", "d2r", 1)
    assert finding is not None
    assert not finding.present


def test_signatures_without_their_instruments_are_not_recorded(make_results: Make) -> None:
    bare = ("route_entropy", "top1_share", "agreement", *(f"module_grad_norm.{i}" for i in range(1, 7)))
    results = load_results(make_results(Plan(benchmarks=("mt10-rand",), levels={"d2r": 0.5}, without=bare)))
    for name in ("uniform-routing", "disagreement-drop", "starved-module"):
        assert CHECKS[name](results, "mt10-rand", "d2r", 1) is None


def test_difficulty_comes_from_baselines_alone(make_results: Make) -> None:
    plan = Plan(benchmarks=("mt10-rand",), levels={"d2r": 0.9, "mtsac": 0.5}, evaluations=8)
    results = load_results(make_results(plan))
    table = task_difficulty(results, "mt10-rand")
    assert table["difficulty"].is_monotonic_increasing
    first, last = table.index[0], table.index[-1]
    assert table.loc[first, "final_success"] > table.loc[last, "final_success"]
    without_d2r = replace(results, metrics=results.metrics[results.metrics["method"] == "mtsac"])
    assert list(task_difficulty(without_d2r, "mt10-rand").index) == list(table.index)


def test_without_baselines_there_is_no_difficulty(make_results: Make) -> None:
    results = load_results(make_results(Plan(benchmarks=("mt10-rand",), levels={"d2r": 0.5})))
    assert task_difficulty(results, "mt10-rand").empty
    assert tasks_by_difficulty(results, "mt10-rand") == results.tasks["mt10-rand"]
    assert harder_half(results, "mt10-rand") == []
    assert set(hardness(results, "mt10-rand").values()) == {0.5}


def test_tasks_as_hard_as_each_other_are_treated_alike(make_results: Make) -> None:
    plan = Plan(benchmarks=("mt10-rand",), levels={"d2r": 0.5, "mtsac": 0.5}, constant={"mtsac": 0.0})
    results = load_results(make_results(plan))
    assert harder_half(results, "mt10-rand") == results.tasks["mt10-rand"], "none is solved by any baseline"
    evaluation, metrics = results.evaluation.copy(), results.metrics.copy()
    for table, column in ((evaluation, "success"), (metrics, "value")):
        learned = (table["method"] == "mtsac") & table["task"].isin(["reach-v3", "drawer-close-v3"])
        if column == "value":
            learned &= table["quantity"] == "success"
        table.loc[learned, column] = 1.0
    results = replace(results, evaluation=evaluation, metrics=metrics)
    unsolved = set(results.tasks["mt10-rand"]) - {"reach-v3", "drawer-close-v3"}
    assert set(harder_half(results, "mt10-rand")) == unsolved
    assert {task for task, value in hardness(results, "mt10-rand").items() if value == 1.0} == unsolved


def test_rho_is_one_when_modules_follow_difficulty(make_results: Make) -> None:
    plan = Plan(benchmarks=("mt10-rand",), levels={"d2r": 0.5, "mtsac": 0.5}, seeds=(1, 2))
    results = load_results(make_results(plan))
    difficulty = task_difficulty(results, "mt10-rand")["difficulty"]
    metrics = results.metrics.copy()
    rows = (metrics["quantity"] == "modules_used") & (metrics["method"] == "d2r")
    metrics.loc[rows, "value"] = metrics.loc[rows, "task"].map(difficulty)
    table = correlation_over_training(replace(results, metrics=metrics), "mt10-rand", "d2r")
    assert table.to_numpy() == pytest.approx(np.ones_like(table.to_numpy()))


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    routes_command.add_arguments(parser)
    return parser.parse_args(list(words))


def test_routes_command_draws_the_recorded_routes(
    make_results: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = make_results(Plan(benchmarks=("mt10-rand",), seeds=(1,)))
    run = results / "runs" / "mt10-rand" / "d2r" / "seed1"
    assert routes_command.run(arguments(str(run), "--output", str(tmp_path / "out"))) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "routes.svg", "routes.png", "routes.csv", "routes.md", "routes.tex",
    }  # fmt: skip
    table = pd.read_csv(tmp_path / "out" / "routes.csv")
    assert list(table["task"]) == tasks_by_difficulty(load_results(results), "mt10-rand")
    assert "modules used" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("mtsac", (), "does not route"),
        ("d2r", ("--step", "7"), "recorded at"),
        ("absent", (), "cannot be read"),
    ],
)
def test_routes_command_refuses_in_one_line(
    make_results: Make, tmp_path: Path, method: str, options: tuple[str, ...], message: str
) -> None:
    results = make_results(Plan(benchmarks=("mt10-rand",), seeds=(1,)))
    run = results / "runs" / "mt10-rand" / method / "seed1"
    with pytest.raises(UserError, match=message) as error:
        routes_command.run(arguments(str(run), *options, "--output", str(tmp_path / "out")))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "routes", "message"),
    [
        ({"benchmark": "/tmp/evil"}, None, "'benchmark' is missing or not what training writes"),
        ({"method": "../../../evil"}, None, "'method' is missing or not what training writes"),
        ({"method": "film"}, None, "describes mt10-rand/film/seed1, so it lies in the wrong folder"),
        (
            {},
            "step,task,target,source,weight\n800,$x^2$,out,1,1.0\n",
            "column 'task' holds '\\$x.*', which is no name",
        ),
        ({}, f"step,task,target,source,weight\n800,{'x' * 5000},out,1,1.0\n", "column 'task' holds 'xxx"),
        ({"config": {"network": []}}, None, "config"),
        ({}, "step,task,target,source,weight\n800,reach-v3,999999,1,1.0\n", "'999999' is no module"),
        ({}, "step,task,target,source,weight\n800,reach-v3,out,x,1.0\n", "'x' is no module"),
        ({}, "step,task,target,source,weight\nx,reach-v3,out,1,1.0\n", "no number"),
        ({}, "step,task\n800,reach-v3\n", "has the columns step,task, not step,task,target,source,weight"),
    ],
)
def test_routes_of_a_hostile_run_are_refused(
    make_results: Make, tmp_path: Path, changes: dict[str, object], routes: str | None, message: str
) -> None:
    """The record is sealed again, so the hashes are right."""
    run = make_results(Plan(benchmarks=("mt10-rand",), seeds=(1,))) / "runs/mt10-rand/d2r/seed1"
    record = json.loads((run / "run.json").read_bytes()) | changes
    if routes is not None:
        (run / "routes.csv").write_text(routes)
        record["outputs"]["routes.csv"] = hashlib.sha256(routes.encode()).hexdigest()
    (run / "run.json").write_bytes(record_bytes(record))
    with pytest.raises(UserError, match=message) as error:
        routes_command.run(arguments(str(run), "--output", str(tmp_path / "out")))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "scale", ["../../evil", "/tmp/evil", "..", "", "$x^2$", "a\0", "\ud800", "a\n", "x" * 5000]
)
def test_routes_of_a_scale_that_is_no_name_are_refused(make_results: Make, scale: str) -> None:
    """The scale's name is part of the folder that is written."""
    run = make_results(Plan(benchmarks=("mt10-rand",), seeds=(1,))) / "runs/mt10-rand/d2r/seed1"
    record = json.loads((run / "run.json").read_bytes())
    record |= {"scale": scale, "config": record["config"] | {"scale": scale}}
    record["config_hash"] = config_hash(record["config"])
    (run / "run.json").write_bytes(record_bytes(record))
    with pytest.raises(UserError, match="'scale' is missing or not what training writes"):
        routes_command.run(arguments(str(run)))


def test_routes_of_two_scales_have_their_own_folders(
    make_results: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = make_results(Plan(benchmarks=("mt10-rand",), seeds=(1,)))
    monkeypatch.chdir(tmp_path)
    assert routes_command.run(arguments(str(results / "runs/mt10-rand/d2r/seed1"))) == 0
    scale = json.loads((results / "runs/mt10-rand/d2r/seed1/run.json").read_bytes())["scale"]
    assert (tmp_path / "routes" / scale / "mt10-rand/d2r/seed1/routes.svg").is_file()


def test_routes_of_a_run_in_the_folder_of_another_are_refused(make_results: Make) -> None:
    run = make_results(Plan(benchmarks=("mt10-rand",), seeds=(1,))) / "runs/mt10-rand/d2r/seed1"
    with pytest.raises(UserError, match="describes mt10-rand/d2r/seed1, so it lies in the wrong folder"):
        routes_command.run(arguments(str(run.rename(run.with_name("seed2")))))


def test_routes_that_were_changed_are_refused(make_results: Make) -> None:
    run = make_results(Plan(benchmarks=("mt10-rand",), seeds=(1,))) / "runs/mt10-rand/d2r/seed1"
    (run / "routes.csv").write_text((run / "routes.csv").read_text().replace("800", "801"))
    with pytest.raises(UserError, match="sha256"):
        routes_command.run(arguments(str(run)))
