"""Growing networks beside fixed ones, as a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from d2r.config import load_method, load_scale, plan_runs, resolve_run
from d2r.findings.growth import FIXED, GROWING
from d2r.findings.recorded_routes import num_modules
from d2r.findings.results import Results, load_results
from d2r.report.tables import build_tables
from d2r.report.tables.growth import growth_table
from tests.support.synthetic import METHODS, Plan

Make = Callable[[Plan], Path]


@pytest.fixture
def results(make_results: Make, monkeypatch: pytest.MonkeyPatch) -> Results:
    """A method that grew from four modules to five of 24, one with eight, and D2R with 16, all with success 0.5."""
    modules = {
        "d2r": {"num_modules": 16},
        "d2r-growing": {"num_modules": 24, "initial_modules": 4},
        "d2r-n8": {"num_modules": 8},
    }
    for name, network in modules.items():
        network = {"type": "routed", **network}
        monkeypatch.setitem(METHODS, name, {"title": name, "kind": "variant", "network": network})
    levels = dict.fromkeys(modules, 0.5)
    found = load_results(make_results(Plan(benchmarks=("mt10-rand",), levels=levels, constant=levels)))
    key = {"scale": "smoke", "benchmark": "mt10-rand", "method": "d2r-growing", "protocol": "d2r-official"}
    grown = pd.DataFrame(
        [
            {**key, "seed": seed, "step": step, "task": "", "quantity": "modules_in_use", "value": value}
            for seed in (1, 2, 3)
            for step, value in ((400, 4), (800, 5))
        ]
    )
    return replace(found, metrics=pd.concat([found.metrics, grown], ignore_index=True))


def test_rules_stand_beside_fixed_numbers_and_what_is_not_run_is_shown(results: Results) -> None:
    table = growth_table(results)
    rows = [dict(zip(table.header, [cell.text for cell in row], strict=True)) for row in table.rows]
    assert [(row["a module opens"], row["runs"], row["modules at the end"]) for row in rows] == [
        ("when success stops rising", "n=3", "5.00"),
        ("at even intervals", "not run", "–"),
        ("–", "not run", "–"),
        ("–", "n=3", "8.00"),
        ("–", "n=3", "16.0"),
    ]
    run = [row for row in rows if row["runs"] != "not run"]
    assert {row["steps per task"] for row in run} == {"800"}
    assert {row["area under the success curve"] for row in run} == {"50.0"}


def test_modules_that_were_never_opened_are_not_drawn(results: Results) -> None:
    assert num_modules(results, "mt10-rand", "d2r-growing") == 5


def test_it_is_there_where_something_grows(results: Results) -> None:
    assert "growth" in {table.name for table in build_tables(results)}


def test_it_is_not_where_nothing_does(make_results: Make) -> None:
    assert "growth" not in {table.name for table in build_tables(load_results(make_results(Plan())))}


def test_the_scale_plans_what_both_tables_show_at_equal_budget() -> None:
    scale = load_scale("questions")
    planned = {key.method for key in plan_runs(scale)}
    assert planned >= {*GROWING, *(methods[0] for methods in FIXED.values())}
    fixed = {methods[0]: modules for modules, methods in FIXED.items()}
    runs = {name: resolve_run(scale, "mt10-fixed", name, 1) for name in (*GROWING, *fixed)}
    assert {name: runs[name].network.model_dump()["num_modules"] for name in fixed} == fixed
    assert len({run.budget for run in runs.values()}) == 1
    assert [load_method(name).network.model_dump()["growth"] for name in GROWING] == ["plateau", "schedule"]
