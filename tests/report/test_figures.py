"""Figures: what is drawn and what is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from d2r.findings.results import load_results
from d2r.report.figures.comparisons import performance_profiles
from d2r.report.figures.curves import learning_curves
from d2r.report.figures.instruments import difficulty_over_training
from tests.support.synthetic import Plan

Make = Callable[[Plan], Path]


@pytest.mark.parametrize("seeds", [(1,), (1, 2), (1, 2, 3)])
def test_every_run_is_a_thin_line_beside_the_mean(make_results: Make, seeds: tuple[int, ...]) -> None:
    results = load_results(make_results(Plan(benchmarks=("mt10-rand",), levels={"d2r": 0.6}, seeds=seeds)))
    axes = learning_curves(results).axes[0]
    thin = [line for line in axes.lines if line.get_linewidth() < 1]
    assert len(thin) == (len(seeds) if len(seeds) > 1 else 0)
    assert len(axes.lines) == len(thin) + 1
    assert not axes.collections


@pytest.mark.parametrize(("seeds", "bands"), [((1, 2), 0), ((1, 2, 3), 1)])
def test_a_profile_has_a_band_from_three_runs_on(
    make_results: Make, seeds: tuple[int, ...], bands: int
) -> None:
    results = load_results(make_results(Plan(benchmarks=("mt10-rand",), levels={"d2r": 0.6}, seeds=seeds)))
    assert len(performance_profiles(results).axes[0].collections) == bands


def test_difficulty_is_drawn_though_all_tasks_begin_with_equally_many_modules(make_results: Make) -> None:
    plan = Plan(benchmarks=("mt10-rand",), levels={"d2r": 0.5, "mtsac": 0.5}, evaluations=8)
    results = load_results(make_results(plan))
    metrics = results.metrics.copy()
    first = metrics["step"] == metrics["step"].min()
    metrics.loc[first & (metrics["quantity"] == "modules_used"), "value"] = 5.0
    axes = difficulty_over_training(replace(results, metrics=metrics)).axes[0]
    assert list(axes.lines[0].get_xdata()) == sorted(metrics["step"].unique())[1:]
