"""Verdicts on claims, and the command line of the analysis."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from d2r.cli import analyze, compare
from d2r.errors import UserError
from d2r.findings.claims import Judgement, _found, claims_markdown, commands, judge, load_claims
from d2r.findings.results import load_results
from d2r.statistics import Estimate
from d2r.statistics import coverage as simulation

from .synthetic import REPOSITORY, Plan

Make = Callable[[Plan], Path]
Capture = pytest.CaptureFixture[str]
STRONG = {"d2r": 0.9, "d2r-naive": -0.2, "d2r-no-balance": 0.9, "mtsac": 0.3}


def judgements(results_folder: Path) -> dict[str, Judgement]:
    return {judgement.claim.id: judgement for judgement in judge(load_results(results_folder))}


@pytest.mark.parametrize(
    ("interval", "quantity", "verdict"),
    [
        ((-0.2, 0.2), "success", "not tested at this budget"),
        ((-0.1, 0.11), "success", "not tested at this budget"),
        ((-0.1, 0.1), "success", "not supported"),
        ((0.01, 0.4), "success", "supported"),
        ((-0.4, -0.01), "success", "not supported"),
        ((-0.2, 0.2), "gradient_cosine", "not supported"),
        ((-0.2, 0.3), "gradient_cosine", "not tested at this budget"),
        ((-9e9, 9e9), "multiply_adds", "not supported"),
    ],
)
def test_an_interval_that_holds_zero_refutes_only_if_it_is_narrow(
    interval: tuple[float, float], quantity: str, verdict: str, make_results: Make
) -> None:
    results = load_results(make_results(Plan(scale="lite", seeds=(1,), levels={"d2r": 0.5})))
    estimate = Estimate(sum(interval) / 2, *interval, 5, "t")
    assert _found(results, "mt10-rand", "", quantity, estimate, "higher", ("d2r",)).verdict == verdict


def test_a_clear_difference_supports_and_none_does_not(make_results: Make) -> None:
    seeds = range(1, 13)
    found = judgements(make_results(Plan(scale="lite", seeds=seeds, levels=STRONG, evaluations=8)))
    assert found["full-beats-naive"].verdict == "supported"
    assert found["balancing-helps-hard-tasks"].verdict == "not supported"
    assert found["state-routing-matters"].verdict == "not tested at this budget"
    for judgement in found.values():
        for evidence in judgement.evidence:
            if evidence.verdict == "supported":
                assert evidence.estimate.has_interval


def test_a_claim_about_all_is_not_supported_by_some(make_results: Make) -> None:
    """One baseline is beaten clearly; of the other there is one run."""
    lost = [(benchmark, "softmod-deep", seed) for benchmark in ("mt10-fixed", "mt10-rand") for seed in (2, 3)]
    levels = {"d2r": 0.9, "mtsac": -0.2, "softmod-deep": -0.2}
    found = judgements(make_results(Plan(scale="lite", levels=levels, missing=lost, evaluations=8)))
    claim = found["beats-baselines"]
    assert {evidence.verdict for evidence in claim.evidence} == {"supported", "not tested at this budget"}
    assert claim.verdict == "not tested at this budget"


def test_a_claim_about_all_is_not_supported_where_some_were_never_to_be_run(make_results: Make) -> None:
    """One of two baselines is planned, and beaten clearly on both benchmarks of the scale."""
    levels = {"d2r": 0.9, "mtsac": -0.2}
    found = judgements(make_results(Plan(scale="lite", seeds=range(1, 7), levels=levels, evaluations=8)))
    claim = found["beats-baselines"]
    reasons = {evidence.benchmark: set() for evidence in claim.evidence}
    for evidence in claim.evidence:
        reasons[evidence.benchmark].add(evidence.reason)
    assert reasons["mt10-rand"] == {"on the claimed side", "not run at this scale"}
    assert reasons["mt50-rand"] == {"not run at this scale"}
    assert claim.verdict == "not tested at this budget"
    alone = {evidence.benchmark: evidence.reason for evidence in found["alpha-tracks-mastery"].evidence}
    assert alone["mt50-rand"] == "not run at this scale"


def test_the_claims_map_gives_every_number_found(make_results: Make) -> None:
    results = load_results(make_results(Plan(scale="lite", levels=STRONG, evaluations=8)))
    text = claims_markdown(results)
    for judgement in judge(results):
        for evidence in judgement.evidence:
            if evidence.estimate.value is not None:
                assert (
                    f"  - {evidence.benchmark}, {evidence.what}: {evidence.number} ({evidence.reason})\n"
                    in text
                )


def test_smoke_tests_no_claim(make_results: Make) -> None:
    found = judgements(make_results(Plan(scale="smoke", seeds=(1, 2, 3, 4, 5), levels=STRONG)))
    assert {judgement.verdict for judgement in found.values()} == {"not tested at this budget"}


def test_nothing_learned_tests_nothing(make_results: Make) -> None:
    plan = Plan(scale="lite", levels={"d2r": 0.5, "d2r-naive": 0.5}, constant={"d2r": 0.0, "d2r-naive": 0.0})
    verdict = judgements(make_results(plan))["full-beats-naive"]
    assert verdict.verdict == "not tested at this budget"


def test_one_seed_tests_nothing(make_results: Make) -> None:
    found = judgements(make_results(Plan(scale="lite", seeds=(1,), levels=STRONG)))
    assert found["full-beats-naive"].verdict == "not tested at this budget"


def test_two_runs_of_three_test_nothing(make_results: Make) -> None:
    found = judgements(make_results(Plan(scale="lite", seeds=(1, 2), levels=STRONG)))
    assert found["full-beats-naive"].verdict == "not tested at this budget"


def test_claims_name_methods_that_exist() -> None:
    methods = {path.stem for path in (REPOSITORY / "config" / "methods").glob("*.yaml")}
    for claim in load_claims():
        named = {
            name for test in claim.tests for name in test.get("than", ()) if test.get("than") != "baselines"
        }
        named |= set() if isinstance(claim.methods, str) else set(claim.methods) - {"baselines"}
        assert named <= methods, claim.id


def test_commands_name_only_benchmarks_that_the_scale_has_a_budget_for() -> None:
    (claim,) = (claim for claim in load_claims() if claim.id == "alpha-tracks-mastery")
    assert "for b in mt10-fixed mt10-rand;" in commands(claim, "lite")
    assert "mt50-rand" in commands(claim, "paper")


def test_the_claims_map_of_a_scale_without_known_cost_names_the_plan(
    make_results: Make, capsys: Capture
) -> None:
    run(analyze, "claims", "--results", str(make_results(Plan(scale="smoke"))))
    said = capsys.readouterr().out
    assert "12 runs with three seeds; `d2r plan --scale smoke`" in said
    assert "**Verdict of the runs so far**: not tested at this budget (smoke runs learn nothing)." in said


def test_the_claims_map_is_written_to_a_file_or_printed(tmp_path: Path, capsys: Capture) -> None:
    run(analyze, "claims", "--output", str(tmp_path / "claims.md"))
    capsys.readouterr()
    run(analyze, "claims")
    assert (tmp_path / "claims.md").read_text() == capsys.readouterr().out


def run(module: ModuleType, *words: str) -> int:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(list(words))))


def test_compare_prints_the_paired_difference_with_its_interval(
    make_results: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    results = make_results(Plan(missing=[("mt10-fixed", "mtsac", 2)]))
    assert run(compare, "d2r", "mtsac", "--results", str(results)) == 0
    text = capsys.readouterr().out
    fixed, rand = text.split("mt10-rand:")
    assert "paired by seed" in fixed
    assert "seeds 1, 3" in fixed
    assert "used for verdicts here" in fixed.split("unpaired")[0]
    assert "used for verdicts here" in rand.split("unpaired")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("d2r", "mtsca"), "did you mean 'mtsac'"),
        (("d2r", "mtsac", "--benchmark", "mt50-rand"), "no finished runs"),
    ],
)
def test_compare_refuses_in_one_line(make_results: Make, words: tuple[str, ...], message: str) -> None:
    results = make_results(Plan(seeds=(1,)))
    with pytest.raises(UserError, match=message):
        run(compare, *words, "--results", str(results))


def test_analyze_difficulty_prints_a_table(make_results: Make, capsys: pytest.CaptureFixture[str]) -> None:
    results = make_results(Plan())
    assert run(analyze, "difficulty", "--results", str(results)) == 0
    assert "ρ (modules, difficulty)" in capsys.readouterr().out


def test_coverage_replaces_only_what_is_between_its_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "coverage_table", lambda repeats: repeats)
    monkeypatch.setattr(simulation, "coverage_markdown", lambda table, repeats: f"{table} {repeats}\n")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{analyze.BEGIN}\nold\n{analyze.END}\nafter\n")
    run(analyze, "coverage", "--repeats", "8", "--update", str(page))
    assert page.read_text() == f"before\n{analyze.BEGIN}\n8 8\n{analyze.END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(UserError, match="once each"):
        run(analyze, "coverage", "--repeats", "8", "--update", str(page))
    monkeypatch.setattr(simulation, "coverage_table", lambda repeats: pytest.fail("it simulates first"))
    with pytest.raises(UserError, match="cannot be read"):
        run(analyze, "coverage", "--update", str(tmp_path / "absent.md"))
