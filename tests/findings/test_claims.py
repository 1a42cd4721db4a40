"""Verdicts on claims, and the command line of the analysis."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from d2r.cli import analyze, compare
from d2r.config import load_scale, plan_runs
from d2r.config.changes import split_id
from d2r.errors import UserError
from d2r.findings.claims import Judgement, claims_file, judge, load_claims, of_other_scales
from d2r.findings.measures import measure
from d2r.findings.results import load_results
from d2r.report.claims_text import claims_markdown, command, evidence_markdown, found_text, verdict_text
from d2r.statistics import simulation
from tests.support.synthetic import REPOSITORY, Plan

Make = Callable[[Plan], Path]
Capture = pytest.CaptureFixture[str]
STRONG = {"d2r": 0.9, "d2r-naive": -0.2, "d2r-no-balance": 0.9, "mtsac": 0.3}


def judgements(results_folder: Path) -> dict[str, Judgement]:
    return {judgement.claim.id: judgement for judgement in judge(load_results(results_folder))}


def test_a_clear_difference_supports_and_none_does_not(make_results: Make) -> None:
    seeds = range(1, 13)
    found = judgements(make_results(Plan(scale="lite", seeds=seeds, levels=STRONG, evaluations=8)))
    assert found["full-beats-naive"].verdict == "supported"
    assert found["balancing-helps-hard-tasks"].verdict != "supported"
    assert not found["state-routing-matters"].is_tested
    for judgement in found.values():
        for evidence in judgement.evidence:
            if evidence.conclusion.verdict == "supported":
                assert evidence.estimate.has_interval


def test_a_claim_is_judged_by_the_last_evaluations_and_not_by_the_final_policy(make_results: Make) -> None:
    results = load_results(make_results(Plan(scale="lite", seeds=range(1, 7), levels=STRONG, evaluations=8)))
    flipped = results.evaluation.assign(success=1 - results.evaluation["success"])
    before, after = judge(results), judge(replace(results, evaluation=flipped))
    assert [found.verdicts for found in before] == [found.verdicts for found in after]


def test_a_claim_about_several_methods_needs_those_that_the_scale_runs(make_results: Make) -> None:
    """One of all baselines is planned, and beaten clearly on both benchmarks of the scale."""
    levels = {"d2r": 0.9, "mtsac": -0.2}
    found = judgements(make_results(Plan(scale="lite", seeds=range(1, 7), levels=levels, evaluations=8)))
    claim = found["beats-baselines"]
    assert claim.verdicts == {"mt10-fixed": "supported", "mt10-rand": "supported"}
    assert claim.verdict == "supported"
    assert ("mt50-rand", "d2r") in claim.not_run
    assert ("mt10-rand", "mtmhsac-matched") in found["more-than-parameters"].not_run
    assert set(found["alpha-tracks-mastery"].verdicts) == {"mt10-fixed", "mt10-rand"}


def test_one_method_that_is_not_settled_keeps_a_claim_about_all_open(make_results: Make) -> None:
    """One baseline is beaten clearly; of the other there is one run."""
    lost = [(benchmark, "softmod-deep", seed) for benchmark in ("mt10-fixed", "mt10-rand") for seed in (2, 3)]
    levels = {"d2r": 0.9, "mtsac": -0.2, "softmod-deep": -0.2}
    found = judgements(make_results(Plan(scale="lite", levels=levels, missing=lost, evaluations=8)))
    claim = found["beats-baselines"]
    assert {evidence.conclusion.verdict for evidence in claim.evidence} == {"supported", "open"}
    assert claim.verdict == "open"


def test_one_method_that_is_clearly_better_refutes_a_claim_about_all(make_results: Make) -> None:
    levels = {"d2r": 0.3, "mtsac": -0.5, "softmod-deep": 1.2}
    plan = Plan(scale="lite", seeds=range(1, 9), levels=levels, evaluations=8)
    claim = judgements(make_results(plan))["beats-baselines"]
    assert {evidence.conclusion.verdict for evidence in claim.evidence} == {"supported", "refuted"}
    assert claim.verdict == "refuted"


def test_a_plain_network_does_as_well_only_by_an_interval_without_an_effect_worth_having() -> None:
    (claim,) = (claim for claim in load_claims() if claim.id == "plain-does-as-well")
    assert [test.direction for test in claim.tests] == ["equal"]


def test_smallest_effects_are_those_registered() -> None:
    effects = claims_file().smallest_effects
    assert (effects["success"].beside(0.3), effects["area"].beside(0.3)) == (0.075, 0.05)
    text = (REPOSITORY / "docs" / "registered.md").read_text()
    assert "| 7.5 points |" in text
    assert "| 5 points |" in text
    measured = {test.quantity for claim in load_claims() for test in claim.tests}
    assert measured <= effects.keys(), "each measure states its smallest effect worth having"


def test_a_cosine_is_measured_against_its_size_without_resrouting(make_results: Make) -> None:
    """With 0.05 and without -0.02 in every run: the smallest effect is half of 0.02."""
    evidence = next(
        found
        for found in judgements(make_results(Plan(scale="lite", levels=STRONG)))["resrouting-helps"].evidence
        if found.measure.name == "gradient_cosine"
    )
    assert evidence.smallest == pytest.approx(0.01)
    assert evidence.estimate.value == pytest.approx(0.07)


def test_times_are_compared_on_one_machine_only(make_results: Make) -> None:
    results = load_results(make_results(Plan(seeds=(1, 2, 3), benchmarks=("mt10-rand",))))
    runs = results.runs.copy()
    slow = (runs["seed"] == 1) | ((runs["seed"] == 2) & (runs["method"] == "d2r"))
    runs["cpu"] = "model: a; kernels: b; system: c"
    runs.loc[slow, "cpu"] = "model: slow; kernels: b; system: c"
    runs.loc[runs["seed"] == 3, "cpu"] = "model: a; kernels: b; system: another"
    runs.loc[slow, "update_seconds"] *= 2
    mixed = replace(results, runs=runs)
    kept = {tuple(run) for run in mixed.timed[["method", "seed"]].itertuples(index=False)}
    assert kept == {(m, s) for m in ("d2r-naive", "mtsac") for s in (2, 3)} | {("d2r", 3)}
    seconds = measure("update_seconds").of_runs(mixed, "mt10-rand", "d2r")
    assert seconds.index.tolist() == [3]


def test_the_evidence_gives_every_number_found(make_results: Make) -> None:
    results = load_results(make_results(Plan(scale="lite", levels=STRONG, evaluations=8)))
    text = evidence_markdown(results)
    for judgement in judge(results):
        for evidence in judgement.evidence:
            if evidence.estimate.value is not None:
                assert found_text(evidence) in text
                assert evidence.conclusion.reason in text


def test_the_claims_map_has_every_claim_with_its_verdict_and_command(make_results: Make) -> None:
    results = load_results(make_results(Plan(scale="lite", levels=STRONG, evaluations=8)))
    sections = claims_markdown(results).split("\n## ")[1:]
    judged, others = judge(results), of_other_scales(results)
    assert {judgement.claim.id for judgement in judged} | {claim.id for claim in others} == {
        claim.id for claim in load_claims()
    }
    for section, claim in zip(sections, [*(j.claim for j in judged), *others], strict=True):
        assert claim.claim in section
    for section in sections[len(judged) :]:
        assert "**Verdict**: not run" in section
    for section, judgement in zip(sections, judged, strict=False):
        assert f"**Verdict**: {verdict_text(judgement)}" in section
        assert re.search("`(runs|snakemake) .*`", section)


def test_smoke_tests_no_claim(make_results: Make) -> None:
    found = judgements(make_results(Plan(scale="smoke", seeds=(1, 2, 3, 4, 5), levels=STRONG)))
    assert {judgement.verdict for judgement in found.values()} == {"open"}


def test_nothing_learned_tests_nothing(make_results: Make) -> None:
    levels = {"d2r": -9.0, "d2r-naive": -9.0}
    claim = judgements(make_results(Plan(scale="lite", levels=levels)))["full-beats-naive"]
    assert {evidence.conclusion.reason for evidence in claim.evidence} == {"neither side reaches 5 %"}
    assert claim.verdict == "open"


def test_one_seed_tests_nothing(make_results: Make) -> None:
    found = judgements(make_results(Plan(scale="lite", seeds=(1,), levels=STRONG)))
    assert found["full-beats-naive"].verdict == "open"


def test_two_runs_of_three_test_nothing(make_results: Make) -> None:
    found = judgements(make_results(Plan(scale="lite", seeds=(1, 2), levels=STRONG)))
    assert found["full-beats-naive"].verdict == "open"


def test_claims_name_methods_that_exist() -> None:
    methods = {path.stem for path in (REPOSITORY / "config" / "methods").glob("*.yaml")}
    for claim in load_claims():
        named = {name for test in claim.tests if isinstance(test.than, tuple) for name in test.than}
        named |= set(claim.methods) if isinstance(claim.methods, tuple) else set()
        assert {split_id(name)[0] for name in named} <= methods, claim.id


def test_a_claim_of_one_scale_names_what_that_scale_runs() -> None:
    for claim in load_claims():
        if claim.scale is not None:
            planned = {(run.benchmark, run.method) for run in plan_runs(load_scale(claim.scale))}
            for test in claim.tests:
                for benchmark in test.benchmarks:
                    assert {(benchmark, name) for name in (test.of, *test.than)} <= planned


def test_commands_name_only_benchmarks_that_the_scale_has_a_budget_for() -> None:
    (claim,) = (claim for claim in load_claims() if claim.id == "alpha-tracks-mastery")
    assert "for b in mt10-fixed mt10-rand;" in command(claim, "lite")
    assert "mt50-rand" in command(claim, "paper")


def test_the_claims_map_of_a_scale_without_known_cost_names_the_plan(
    make_results: Make, capsys: Capture
) -> None:
    run(analyze, "claims", "--results", str(make_results(Plan(scale="smoke"))))
    said = capsys.readouterr().out
    assert "12 runs with three seeds; `d2r plan --scale smoke`" in said
    assert "open on mt10-fixed; open on mt10-rand. Missing: smoke runs learn nothing." in said


def test_the_claims_map_is_written_to_a_file_or_printed(tmp_path: Path, capsys: Capture) -> None:
    run(analyze, "claims", "--output", str(tmp_path / "claims.md"))
    capsys.readouterr()
    run(analyze, "claims")
    assert (tmp_path / "claims.md").read_text() == capsys.readouterr().out


def run(module: ModuleType, *words: str) -> int:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(list(words))))


def test_compare_prints_measures_with_adjusted_differences(make_results: Make, capsys: Capture) -> None:
    results = make_results(Plan(missing=[("mt10-fixed", "mtsac", 2)]))
    assert run(compare, "d2r", "mtsac", "--results", str(results)) == 0
    text = capsys.readouterr().out
    on_one_goal = text.partition("mt10-fixed: d2r minus mtsac")[2].partition("mt10-rand:")[0]
    assert "mtsac: 2 runs, seeds 1, 3" in on_one_goal
    for words in ("success over the last 8", "mean return", "area under", "final policy", "adjusted for all"):
        assert words in text
    assert run(compare, "mtsac", "d2r-naive", "--results", str(results)) == 0
    assert "no verdict: only comparisons with D2R are adjusted" in capsys.readouterr().out


def test_compare_turns_around_with_its_methods(make_results: Make, capsys: Capture) -> None:
    results = make_results(Plan(benchmarks=("mt10-rand",)))
    found = []
    for pair in (("d2r", "mtsac"), ("mtsac", "d2r")):
        run(compare, *pair, "--results", str(results))
        line = next(x for x in capsys.readouterr().out.splitlines() if "difference" in x)
        found.append([float(x.replace("−", "-")) for x in re.findall(r"[+−][0-9.]+", line)])
    (value, low, high), back = found
    assert back == [-value, -high, -low]


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
    def simulate(repeats: int, worlds: list[simulation.World]) -> pd.DataFrame:
        return pd.DataFrame({"repeats": [repeats]})

    monkeypatch.setattr(simulation, "simulate", simulate)
    monkeypatch.setattr(
        simulation, "simulation_markdown", lambda table, repeats: f"{len(table)} worlds {repeats}\n"
    )
    page = tmp_path / "page.md"
    page.write_text(f"before\n{analyze.BEGIN}\nold\n{analyze.END}\nafter\n")
    run(analyze, "coverage", "--repeats", "8", "--update", str(page))
    assert page.read_text() == f"before\n{analyze.BEGIN}\n4 worlds 8\n{analyze.END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(UserError, match="once each"):
        run(analyze, "coverage", "--repeats", "8", "--update", str(page))
    monkeypatch.setattr(simulation, "simulate", lambda repeats, worlds: pytest.fail("it simulates first"))
    with pytest.raises(UserError, match="cannot be read"):
        run(analyze, "coverage", "--update", str(tmp_path / "absent.md"))
