"""The headline and the sentences at the top of the page and of the README say what the intervals say."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from d2r.findings.results import load_results
from d2r.report.bars import Axis, axis_of, balanced
from d2r.report.readme import readme_markdown, success_markdown
from d2r.report.summary import Summary
from d2r.statistics import Estimate
from tests.support.synthetic import Plan

Make = Callable[[Plan], Path]
FAR_APART = {"d2r": 0.55, "d2r-naive": 0.1, "mtsac": 1.4, "softmod-deep": 0.55}


def summary(make_results: Make, levels: dict[str, float], **plan: object) -> Summary:
    chosen = {
        "benchmarks": ("mt10-rand",),
        "seeds": range(1, 7),
        "evaluations": 12,
        "steps": 1200,
        "scale": "lite",
    }
    return Summary(load_results(make_results(Plan(levels=levels, **(chosen | plan)))))  # type: ignore[arg-type]


def test_methods_that_are_apart_are_named_on_their_side(make_results: Make) -> None:
    found = summary(make_results, FAR_APART)
    assert found.headline.endswith(
        "one of 3 other methods is below D2R and one of 3 other methods is above D2R"
    )
    levels, differences, claims = found.sentences
    assert "the best other, MT-SAC" in levels
    told, rest = differences.split(";")
    assert "MT-SAC on mt10-rand (+" in told
    assert "naive routing on mt10-rand (−" in told
    assert rest == " one other difference is not."
    assert claims.startswith(f"Of {len(found.judgements)} claims, ")


def test_alike_methods_are_not_told_apart(make_results: Make) -> None:
    found = summary(make_results, {"d2r": 0.5, "mtsac": 0.5, "d2r-naive": 0.5})
    assert found.headline.endswith("no method is shown to be better or worse than D2R")
    assert found.sentences[1].startswith("None of the 2 differences from D2R can be told from chance")


def test_two_runs_tell_nothing_apart(make_results: Make) -> None:
    found = summary(make_results, FAR_APART, seeds=(1, 2))
    assert [row.side for row in found.comparisons] == [0, 0, 0]


def test_smoke_claims_nothing(make_results: Make) -> None:
    found = summary(make_results, FAR_APART, scale="smoke")
    assert "nothing is learned" in found.headline
    assert len(found.sentences) == 1
    assert found.verdicts["supported"] == found.verdicts["refuted"] == 0


def test_the_budget_is_a_share_of_the_papers(make_results: Make) -> None:
    found = summary(make_results, {"d2r": 0.5, "mtsac": 0.5}, steps=150_000)
    assert found.share_of_steps == "10 %"
    assert found.headline.startswith("At 10 % of the paper's steps, ")
    assert found.budget[0] == ("10 %", "of the paper's steps: 150k of 1.5M a task")


def test_every_verdict_is_counted_once(make_results: Make) -> None:
    found = summary(make_results, FAR_APART)
    assert sum(found.verdicts.values()) == len(found.judgements)


def test_d2r_alone_is_no_error(make_results: Make) -> None:
    found = summary(make_results, {"d2r": 0.5})
    assert found.comparisons == []
    assert "nothing to compare with D2R yet" in found.headline


def test_the_readme_has_the_headline_and_the_figure(make_results: Make) -> None:
    found = summary(make_results, FAR_APART)
    text = readme_markdown(found.results, "somewhere")
    assert "](somewhere/figures/differences.png)" in text
    said = " ".join(text.split())
    assert f"**{found.headline}.** Of {len(found.judgements)} [claims]" in said
    for judgement in found.judgements:
        if judgement.verdict == "supported":
            assert judgement.claim.claim.split(" (")[0].rstrip(".") in said
    assert f"{found.verdicts['open']} are open" in said


def test_the_table_of_results_has_every_method(make_results: Make) -> None:
    found = summary(make_results, FAR_APART)
    text = success_markdown(found.results)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(FAR_APART)
    bold = {row.split(" | ")[0].removeprefix("| ") for row in rows if "**" in row}
    assert bold == {row.title for row in found.comparisons if row.side}
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}


def test_places_on_a_bar() -> None:
    axis = Axis(-1.0, 3.0)
    assert [axis.at(value) for value in (-1.0, 0.0, 3.0)] == ["0.00%", "25.00%", "100.00%"]
    assert axis.at(99.0) == "100.00%", "what is beyond an end is at the end"
    assert axis.width(0.0, 1.0) == "25.00%"
    assert axis.ticks == [-1.0, 0.0, 1.0, 2.0, 3.0]
    assert balanced(axis) == Axis(-3.0, 3.0)


@pytest.mark.parametrize("estimate", [Estimate(0.0, None, None, 1, "none"), Estimate(0.2, -0.1, 0.5, 3, "t")])
def test_an_axis_holds_what_it_was_made_for(estimate: Estimate) -> None:
    axis = axis_of([estimate])
    for end in (estimate.value, estimate.low, estimate.high):
        assert end is None or axis.low < end < axis.high
