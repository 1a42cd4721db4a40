"""What the router sees, as a table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from d2r.findings.results import Results, load_results
from d2r.findings.router_inputs import ROUTER_INPUTS, task_bias, task_information
from d2r.report.tables import build_tables
from d2r.report.tables.router_inputs import router_inputs_table
from tests.support.synthetic import METHODS, ROUTED, Plan

Make = Callable[[Plan], Path]
TASK, RELU = "d2r-task-routing", "d2r+network.router_input-relu-product"


@pytest.fixture
def results(make_results: Make, monkeypatch: pytest.MonkeyPatch) -> Results:
    """Runs of D2R and of task routing."""
    monkeypatch.setitem(
        METHODS,
        TASK,
        {"title": "Task routing", "kind": "variant", "network": ROUTED | {"router_input": "task"}},
    )
    levels = {"d2r": 0.5, TASK: 0.5}
    return load_results(make_results(Plan(benchmarks=("mt10-rand",), levels=levels)))


def with_routes(results: Results, sources: Callable[[int], dict[int, float]]) -> Results:
    """The same, module 1 alone into every module, and what the output reads by the number of the task."""
    rows = []
    for seed in (1, 2, 3):
        for number, task in enumerate(results.tasks["mt10-rand"]):
            run = {"benchmark": "mt10-rand", "method": "d2r", "seed": seed, "step": 800, "task": task}
            rows.append({**run, "target": "2", "source": "1", "weight": 1.0})
            rows += [
                {**run, "target": "out", "source": str(source), "weight": weight}
                for source, weight in sources(number).items()
            ]
    return replace(results, routes=pd.DataFrame(rows))


def cells(results: Results) -> dict[str, dict[str, str]]:
    table = router_inputs_table(results)
    rows = [dict(zip(table.header, [cell.text for cell in row], strict=True)) for row in table.rows]
    return {row["the router sees"]: row for row in rows}


def test_a_route_of_its_own_for_each_task_tells_the_task(results: Results) -> None:
    found = task_information(with_routes(results, lambda task: {task + 1: 1.0}), "mt10-rand", "d2r")
    assert found.to_dict() == pytest.approx(dict.fromkeys((1, 2, 3), math.log2(10)))


def test_one_route_for_all_tells_nothing(results: Results) -> None:
    alike = with_routes(results, lambda _: {1: 0.3, 2: 0.7})
    assert task_information(alike, "mt10-rand", "d2r").to_dict() == pytest.approx(
        dict.fromkeys((1, 2, 3), 0.0), abs=1e-9
    )
    states = 10 * 4 * 20  # tasks, episodes, states of an episode of 200 steps
    assert task_bias(alike, "mt10-rand", "d2r")[1] == pytest.approx(9 / (2 * states * math.log(2)))


def test_every_input_has_its_row_whether_it_was_run_or_not(results: Results) -> None:
    found = cells(results)
    assert list(found) == list(ROUTER_INPUTS.values())
    assert found["task alone"]["runs"] == "n=3"
    assert found["task alone"]["information on the task"] != "–"
    other = found["ReLU of task × state"]
    assert (other["runs"], other["information on the task"], other["on the state"]) == ("not run", "–", "–")


def test_what_old_runs_lack_is_not_recorded(results: Results) -> None:
    assert {cells(results)["task alone"][name] for name in ("on the state", "on the quarter")} == {
        "not recorded"
    }
    key: dict[str, Any] = {
        "scale": "smoke",
        "benchmark": "mt10-rand",
        "method": TASK,
        "protocol": "d2r-official",
    }
    new = [
        {**key, "seed": 1, "step": 800, "task": "", "quantity": f"route_{name}_information", "value": value}
        for name, value in (("state", 0.0), ("phase", -0.25))
    ]
    recorded = replace(results, metrics=pd.concat([results.metrics, pd.DataFrame(new)], ignore_index=True))
    row = cells(recorded)["task alone"]
    assert (row["on the state"], row["on the quarter"]) == ("0", "−0.250")
    assert cells(recorded)["task × state"]["on the state"] == "not recorded"


def test_it_is_there_where_some_router_sees_something_else(results: Results, make_results: Make) -> None:
    assert "router-inputs" in {table.name for table in build_tables(results)}


def test_it_is_not_where_none_does(make_results: Make) -> None:
    results = load_results(make_results(Plan(scale="lite")))
    assert "router-inputs" not in {table.name for table in build_tables(results)}


def test_the_files_of_methods_say_what_the_table_says() -> None:
    from d2r.config import load_method

    seen = {name: load_method(name).network.model_dump()["router_input"] for name in ROUTER_INPUTS}
    assert list(seen.values()) == ["product", "relu-product", "concat", "task", "state"]
