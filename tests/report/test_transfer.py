"""Few-shot transfer in tables, figures and verdicts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from d2r.findings.claims import judge, load_claims
from d2r.findings.results import Results, load_results
from d2r.findings.transfer import episodes_shown
from d2r.report.claims_text import claims_markdown
from d2r.report.figures import write_figures
from d2r.report.tables import build_tables
from d2r.report.tables.transfer import transfer_table
from tests.support.synthetic import METHODS, Plan

Make = Callable[[Plan], Path]
D2R = "d2r+adapt-all+start_from-lite.mt10-fixed.d2r"
MATCHED = "mtsac-matched+adapt-all+start_from-lite.mt10-fixed.mtsac-matched"
NEAR = "transfer-near-fixed"


@pytest.fixture
def make(make_results: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Results]:
    """Results of the scale ``transfer`` with these successes; a plain network stands for the matched one."""
    monkeypatch.setitem(
        METHODS, "mtsac-matched", {"title": "Matched", "kind": "baseline", "network": {"type": "mlp"}}
    )

    def of(levels: dict[str, float], constant: dict[str, float] | None = None, **choices: Any) -> Results:
        scales = tmp_path / "config/scales"
        scales.mkdir(parents=True, exist_ok=True)
        (scales / "lite.yaml").write_text(
            "{id: lite, description: ., protocol: d2r-official, seeds: [1],"
            " runs: [{benchmarks: [mt10-fixed], methods: [d2r]}], budget: {mt10: {steps: 100, warmup_steps: 1}}}"
        )
        plan = Plan(
            benchmarks=(NEAR,), levels=levels, constant=constant or {}, scale="transfer", from_the_start=True,
            evaluations=4, **choices,
        )  # fmt: skip
        return load_results(make_results(plan))

    return of


def cells(results: Results) -> dict[tuple[str, str], dict[str, str]]:
    table = transfer_table(results)
    rows = [dict(zip(table.header, [cell.text for cell in row], strict=True)) for row in table.rows]
    return {(row["method"], row["starts from"]): row for row in rows}


def test_the_jump_is_to_the_same_method_from_scratch(make: Callable[..., Results]) -> None:
    results = make(dict.fromkeys(("d2r", D2R, MATCHED), 0.5), {"d2r": 0.25, D2R: 0.75, MATCHED: 0.5})
    assert episodes_shown(results) == [0, 1, 2, 3, 4]
    found = cells(results)
    started = found["D2R", "lite/mt10-fixed/d2r"]
    assert started["jump at the start, points"] == "+50.0"
    assert started["success after 3"] == "75.0"
    assert started["return after 4"] == "75.0"
    assert found["D2R", "scratch"]["jump at the start, points"] == "–"
    assert found["Matched", "lite/mt10-fixed/mtsac-matched"]["jump at the start, points"] == "–", "no scratch"


def test_what_is_not_run_is_shown_as_not_run(make: Callable[..., Results]) -> None:
    missing = [(NEAR, D2R, seed) for seed in (1, 2, 3)]
    found = cells(make({"d2r": 0.5, D2R: 0.5}, missing=missing))
    assert found["D2R", "lite/mt10-fixed/d2r"]["runs"] == "not run"
    assert found["D2R", "lite/mt10-fixed/d2r"]["success after 1"] == "–"
    assert found["D2R", "scratch"]["runs"] == "n=3"


def test_there_is_a_table_and_a_figure_where_runs_start_from_others(
    make: Callable[..., Results], make_results: Make
) -> None:
    results = make({"d2r": 0.4, D2R: 0.6})
    assert build_tables(results)[-1].name == "transfer"
    assert "transfer" in {path.stem for path in write_figures(results)}


def test_there_is_none_where_none_does(make_results: Make) -> None:
    results = load_results(make_results(Plan(scale="lite")))
    assert "transfer" not in {table.name for table in build_tables(results)}
    assert "transfer" not in {path.stem for path in write_figures(results)}


@pytest.mark.parametrize(
    ("level", "other", "runs", "verdict"),
    [(1.2, 0.1, 6, "supported"), (0.1, 1.2, 6, "refuted"), (1.2, 0.1, 1, "open")],
)
def test_the_claim_is_judged_between_the_two_that_started_from_others(
    level: float, other: float, runs: int, verdict: str, make: Callable[..., Results]
) -> None:
    levels = {"d2r": 0.5, D2R: level, MATCHED: other}
    results = make(levels, seeds=range(1, runs + 1))
    found = {judgement.claim.id: judgement for judgement in judge(results)}["transfers-better"]
    (evidence,) = found.evidence
    assert evidence.methods == (D2R, MATCHED)
    assert found.verdicts == {NEAR: verdict}
    assert ("transfer-far-fixed", D2R) in found.not_run


def test_other_scales_do_not_ask_for_it_and_say_that_it_is_not_run(make_results: Make) -> None:
    results = load_results(make_results(Plan(scale="lite")))
    assert "transfers-better" not in {judgement.claim.id for judgement in judge(results)}
    page = claims_markdown(results)
    assert f"## {len(load_claims())}. Learned modules with their router carry over" in page
    assert page.endswith("- **Verdict**: not run.\n")
