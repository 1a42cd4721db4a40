"""Failure signatures in runs whose instruments were read on networks that were made to fail, and on sound ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from d2r.algorithms.sac import MultiTaskSAC
from d2r.config import SacConfig
from d2r.findings.results import Results, load_results
from d2r.findings.signatures import SIGNATURES
from d2r.networks.d2r.levels import D2RNetwork
from d2r.networks.registry import build_critics
from d2r.report.tables.modules import diagnostics_table
from d2r.runs.tidy import Row
from d2r.training.growth import grow
from d2r.training.routing_instruments import survey_replay, survey_routes
from tests.support.synthetic import Plan
from tests.support.variants import TASKS, batch, network, states

CHECKS = {signature.name: signature.check for signature in SIGNATURES}
STEPS = (200, 400, 600, 800)


@pytest.fixture
def results(make_results: Callable[[Plan], Path]) -> Results:
    """A run of D2R."""
    return load_results(make_results(Plan(benchmarks=("mt10-rand",), seeds=(1,), levels={"d2r": 0.5})))


def with_rows(results: Results, rows: list[Row]) -> Results:
    """The run with these rows in place of what it recorded of the same quantities."""
    run = {"scale": "smoke", "benchmark": "mt10-rand", "method": "d2r", "seed": 1, "protocol": "d2r-official"}
    tasks = results.tasks["mt10-rand"]
    new = pd.DataFrame(
        {
            **run,
            "step": step,
            "task": "" if task == "" else tasks[int(task)],
            "quantity": name,
            "value": value,
        }
        for step, task, name, value in rows
    )
    kept = results.metrics[~results.metrics["quantity"].isin(set(new["quantity"]))]
    return replace(results, metrics=pd.concat([kept, new], ignore_index=True))


def is_flagged(results: Results, signature: str) -> bool:
    finding = CHECKS[signature](results, "mt10-rand", "d2r", 1)
    assert finding is not None
    table = diagnostics_table(results).data
    (verdict,) = table.loc[table["signature"] == signature, "verdict"]
    assert verdict == ("present" if finding.present else "absent")
    return finding.present


def surveyed(actor: D2RNetwork) -> list[Row]:
    seen = states()[0].double().numpy()
    return [row for step in STEPS for row in survey_routes(actor, seen, 1, None, step).metrics]


def without_input(built: D2RNetwork, keep_preference: bool) -> D2RNetwork:
    """Let the router put out the same for every task and state: what it prefers itself, or nothing."""
    assert built.router is not None
    last = built.router[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.normal_(generator=torch.Generator().manual_seed(5)).mul_(3.0 if keep_preference else 0.0)
    return built


def test_a_router_that_does_not_see_the_task_takes_one_route(results: Results) -> None:
    sick = with_rows(results, surveyed(without_input(network("d2r"), keep_preference=True)))
    assert is_flagged(sick, "one-route")
    assert not is_flagged(sick, "uniform-routing"), "it has a preference, the same for all"


def test_a_router_without_preference_is_uniform(results: Results) -> None:
    assert is_flagged(
        with_rows(results, surveyed(without_input(network("d2r"), keep_preference=False))), "uniform-routing"
    )


def test_a_router_that_tells_tasks_apart_is_neither(results: Results) -> None:
    healthy = with_rows(results, surveyed(network("d2r")))
    assert not is_flagged(healthy, "one-route")
    assert not is_flagged(healthy, "uniform-routing")


def test_a_module_that_opens_late_is_not_starved_for_what_was_before(results: Results) -> None:
    actor = network("d2r", num_modules=16, initial_modules=4)
    learner = MultiTaskSAC(
        actor, build_critics(actor.config, TASKS, torch.Generator().manual_seed(2)), SacConfig()
    )
    rows: list[Row] = []
    for step in STEPS:
        rows += survey_replay(learner, batch(stored=False), step, torch.Generator().manual_seed(step))
        assert grow(learner, 0)
    names = {row[2] for row in rows}
    assert {"module_grad_norm.4", "module_grad_norm.7"} <= names
    assert "module_grad_norm.8" not in names
    old = results.metrics["quantity"].str.startswith("module_grad_norm")
    assert not is_flagged(with_rows(replace(results, metrics=results.metrics[~old]), rows), "starved-module")


@pytest.mark.parametrize("router_moves", [True, False])
def test_success_that_falls_while_the_router_leaves_replayed_routes(
    router_moves: bool, results: Results
) -> None:
    actor, other = network("d2r"), network("d2r", seed=1)
    critics = build_critics(actor.config, TASKS, torch.Generator().manual_seed(2))
    learner = MultiTaskSAC(actor, critics, SacConfig())
    assert isinstance(learner.actor, D2RNetwork)
    replayed = batch(stored=True)
    route = learner.actor(replayed.obs).route
    assert route is not None
    replayed = replayed._replace(sources=route.sources.to(torch.uint8))
    rows: list[Row] = []
    for step, success in zip(STEPS, (0.2, 0.8, 0.6, 0.3), strict=True):
        if step == STEPS[2] and router_moves:
            learner.actor.load_state_dict(other.state_dict())
        rows += [(step, task, "success", success) for task in range(TASKS)]
        rows += survey_replay(learner, replayed, step, torch.Generator().manual_seed(step))
    assert is_flagged(with_rows(results, rows), "disagreement-drop") == router_moves
