"""``d2r compare`` says what follows before it says why, by any measure that runs recorded."""

from __future__ import annotations

import pytest

from d2r.cli.main import main
from d2r.findings.differences import difference, standing
from d2r.findings.measures import MEASURES, SUCCESS
from d2r.findings.results import load_results
from d2r.report.text import points
from tests.support.tiny import PROJECT

RELEASED = PROJECT / "results/released/lite"
BENCHMARK = "mt10-fixed"


def compare(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    asked = ["compare", *words, "--benchmark", BENCHMARK, "--results", str(RELEASED)]
    assert main(asked) == 0
    return capsys.readouterr().out.splitlines()


def test_the_verdict_comes_first_and_is_that_of_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    results = load_results(RELEASED)
    found = difference(results, SUCCESS, BENCHMARK, "mtsac")
    words = {"higher": "higher than", "lower": "lower than", "not separated": "not separated from"}
    verdict = words[standing(results, BENCHMARK, "mtsac")]
    first, *_ = compare(capsys, "mtsac", "d2r")
    assert first.startswith(f"{BENCHMARK}: mtsac is {verdict} d2r: success ")
    assert f" {points(found.value)} [{points(found.low)}, {points(found.high)}] points" in first
    other, *_ = compare(capsys, "d2r", "mtsac")
    turned = -found
    assert f" {points(turned.value)} [{points(turned.low)}, {points(turned.high)}] points" in other


def test_without_d2r_there_is_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    first, *rest = compare(capsys, "mtsac", "mtsac-matched")
    assert "no verdict" in first
    assert "not adjusted" in rest[-1]


@pytest.mark.parametrize("name", ["return", "area", "update_seconds", "alpha"])
def test_any_measure_can_be_asked_for_alone(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    first, *rest = compare(capsys, "mtsac", "d2r", "--measure", name)
    words = MEASURES[name].words if name in MEASURES else name
    assert "no verdict" in first
    assert f": {words} " in first
    assert sum("    difference " in line for line in rest) == 1
    assert any(line.startswith(f"  {words}: ") for line in rest)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["d2r", "mtsac", "--measure", "retrun"], "no measure 'retrun'; did you mean 'return'?"),
        (
            ["d2r", "mtsac", "--measure", "route_entropy"],
            "no finished runs together on any benchmark that have",
        ),
        (["d2r", "d2r"], "is given twice"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *words, "--results", str(RELEASED)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
