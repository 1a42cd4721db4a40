"""Results of benchmarks that come and go, and of some that are not known here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from d2r.findings.results import load_results
from d2r.report import figures
from d2r.report.page import write_report
from d2r.report.tables import write_tables
from d2r.runs.layout import collected_path
from tests.support.synthetic import Plan

Make = Callable[[Plan], Path]
UNKNOWN = "mt7-kitchen"


@pytest.fixture
def of_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the figures of single benchmarks alone."""
    monkeypatch.setattr(figures, "FIGURES", ())


def renamed(results: Path) -> None:
    for path in (results / "collected").glob("*.csv*"):
        name = path.name.removesuffix(".bz2")
        text = pd.read_csv(path, dtype=str, keep_default_na=False).replace("mt10-rand", UNKNOWN)
        assert collected_path(results, name.removesuffix(".csv")) == path
        text.to_csv(path, index=False)


def test_a_benchmark_that_is_unknown_here_is_shown_by_its_id(make_results: Make, of_benchmarks: None) -> None:
    results = make_results(Plan(benchmarks=("mt10-fixed", "mt10-rand"), seeds=(1, 2)))
    renamed(results)
    loaded = load_results(results)
    assert loaded.benchmarks == [UNKNOWN, "mt10-fixed"]
    write_tables(loaded)
    assert UNKNOWN in (results / "tables/main.csv").read_text()
    assert UNKNOWN in write_report(loaded).read_text()


def test_figures_of_a_benchmark_go_with_it(make_results: Make, of_benchmarks: None) -> None:
    results = make_results(Plan(benchmarks=("mt10-rand",), seeds=(1,)))
    figures.write_figures(load_results(results))
    before = {path.name for path in (results / "figures").iterdir()}
    renamed(results)
    figures.write_figures(load_results(results))
    after = {path.name for path in (results / "figures").iterdir()}
    assert before == {name.replace(UNKNOWN, "mt10-rand") for name in after}
    assert before
    assert not before & after
