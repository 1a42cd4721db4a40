"""What DVC shows of a scale is what its runs say."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev

import pandas as pd
import pytest

from d2r.findings.results import load_results
from d2r.report.metrics import write_metrics
from tests.support.synthetic import Plan

Make = Callable[[Plan], Path]
T_OF_TWO_DEGREES = 4.302652729911275
"""97.5 % quantile of Student's t with two degrees of freedom, from printed tables: 4.303."""


def success_of_run(folder: Path) -> dict[int, float]:
    """Success at each evaluation of one run, mean over tasks."""
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"] == "success"]
    steps = sorted({int(row["step"]) for row in rows})
    return {step: fmean(float(row["value"]) for row in rows if int(row["step"]) == step) for step in steps}


def interval(values: list[float]) -> tuple[float, float]:
    half = T_OF_TWO_DEGREES * stdev(values) / len(values) ** 0.5
    return max(0.0, fmean(values) - half), min(1.0, fmean(values) + half)


def test_success_and_curves_are_those_of_the_runs(make_results: Make) -> None:
    folder = make_results(Plan(benchmarks=("mt10-rand",), levels={"d2r": 0.6, "mtsac": 0.3}, evaluations=12))
    write_metrics(load_results(folder))
    curves = pd.read_csv(folder / "metrics/curves.csv").set_index(["method", "step"])
    assert set(curves["benchmark"]) == {"mt10-rand"}
    for method in ("d2r", "mtsac"):
        runs = [success_of_run(folder / f"runs/mt10-rand/{method}/seed{seed}") for seed in (1, 2, 3)]
        late = [fmean(list(run.values())[-8:]) for run in runs]
        shown = json.loads((folder / f"metrics/success/mt10-rand/{method}.json").read_text())
        assert shown["n"] == 3
        assert shown["success"] == pytest.approx(fmean(late))
        assert (shown["low"], shown["high"]) == pytest.approx(interval(late))
        assert list(curves.loc[method].index) == list(runs[0])
        for step in runs[0]:
            assert curves.loc[(method, step), "success"] == pytest.approx(fmean(run[step] for run in runs))


def test_what_does_not_exist_is_null(make_results: Make) -> None:
    plan = Plan(
        benchmarks=("mt10-rand",),
        seeds=(1,),
        levels={"d2r": 0.6, "mtsac": 0.3},
        failed=[("mt10-rand", "mtsac", 1)],
    )
    folder = make_results(plan)
    write_metrics(load_results(folder))

    def shown(method: str) -> dict[str, float | None]:
        return dict(json.loads((folder / f"metrics/success/mt10-rand/{method}.json").read_text()))

    single = shown("d2r")
    assert (single["low"], single["high"], single["n"]) == (None, None, 1)
    assert shown("mtsac") == {"success": None, "low": None, "high": None, "n": 0}
    assert set(pd.read_csv(folder / "metrics/curves.csv")["method"]) == {"d2r"}


def test_a_method_that_is_gone_is_not_shown(make_results: Make) -> None:
    folder = make_results(Plan(benchmarks=("mt10-rand",), levels={"d2r": 0.6}))
    old = folder / "metrics/success/mt10-rand/mtsac.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    written = write_metrics(load_results(folder))
    assert {path for path in (folder / "metrics").rglob("*") if path.is_file()} == set(written)
