"""What tables say: numbers, marks, LaTeX that compiles, published numbers, degenerate results."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2r.findings.learning import curve_of
from d2r.findings.published import published_text, published_values, sources
from d2r.findings.results import load_results
from d2r.report.figures import FIGURES, write_figures
from d2r.report.tables import BUILDERS, Cell, Table, build_tables, write_tables
from d2r.report.tables.table import latex_text
from d2r.report.text import number, percent, points_interval, steps
from d2r.statistics import Estimate
from tests.support.synthetic import Plan

Make = Callable[[Plan], Path]

DEGENERATE = {
    "one seed": Plan(seeds=(1,)),
    "all at 0": Plan(constant={"d2r": 0.0, "d2r-naive": 0.0, "mtsac": 0.0}),
    "all at 100": Plan(constant={"d2r": 1.0, "d2r-naive": 1.0, "mtsac": 1.0}),
    "0 against 100": Plan(constant={"d2r": 1.0, "mtsac": 0.0}),
    "no D2R": Plan(levels={"mtsac": 0.4, "softmod-deep": 0.5}),
    "all failed": Plan(
        seeds=(1, 2),
        failed=[(b, m, s) for b in ("mt10-fixed", "mt10-rand") for m in ("d2r", "d2r-naive", "mtsac") for s in (1, 2)],
    ),
    "one evaluation": Plan(evaluations=1),
    "no success during training": Plan(without=("success",)),
    "no instruments": Plan(
        without=(
            "modules_used", "depth", "route_entropy", "top1_share", "route_change", "agreement", "blocked_share",
            "route_temperature", "multiply_adds", "route_jaccard", "gradient_cosine", "alpha_success_rho", "alpha",
            "gradient_cosine_no_resrouting", *(f"module_grad_norm.{i}" for i in range(1, 7)),
        )
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_results_give_stated_answers_and_never_nan(make_results: Make, case: str) -> None:
    results = load_results(make_results(DEGENERATE[case]))
    for path in write_tables(results):
        text = path.read_text()
        assert not re.search(r"\b(nan|NaN|inf|None)\b", text), f"{case}: {path.name}"
    if case == "no instruments":
        drawn = {path.stem for path in write_figures(results)}
        assert "learning_curves" in drawn
        assert drawn < {figure.name for figure in FIGURES}, "nothing to draw, no figure"


def test_learning_of_a_run_is_what_its_metrics_say(make_results: Make) -> None:
    folder = make_results(Plan(benchmarks=("mt10-rand",), seeds=(1, 2), levels={"d2r": 0.6}, evaluations=10))
    write_tables(load_results(folder))
    rows = pd.read_csv(folder / "tables/learning.csv", keep_default_na=False).set_index("seed")
    for seed in (1, 2):
        with (folder / f"runs/mt10-rand/d2r/seed{seed}/metrics.csv").open() as file:
            values = [row for row in csv.DictReader(file) if row["quantity"] == "success"]
        steps = sorted({int(row["step"]) for row in values})
        tasks = list(dict.fromkeys(row["task"] for row in values))
        at = {(int(row["step"]), row["task"]): float(row["value"]) for row in values}
        ends = {task: fmean(at[step, task] for step in steps[-8:]) for task in tasks}
        counts = [sum(at[step, task] >= 0.5 for task in tasks) for step in steps]
        found = rows.loc[seed]
        assert found["best"] == pytest.approx(max(fmean(at[step, task] for task in tasks) for step in steps))
        assert found["last"] == pytest.approx(fmean(at[steps[-1], task] for task in tasks))
        assert found["end"] == pytest.approx(fmean(ends.values()))
        assert (found["most_tasks"], found["most_tasks_at"]) == (
            max(counts),
            steps[counts.index(max(counts))],
        )
        assert found["tasks_solved_at_end"].split() == [task for task in tasks if ends[task] >= 0.5]
        assert found["tasks_solved_ever"].split() == [t for t in tasks if any(at[s, t] >= 0.5 for s in steps)]
        assert found["end_return"] == pytest.approx(100 * fmean(ends.values())), (
            "returns there are 100 times success"
        )


def test_learning_counts_a_mean_of_one_half_as_solved() -> None:
    fifths = [1, 5, 4, 3, 5, 2, 0, 0]
    curves = pd.DataFrame([[x / 5 for x in fifths], [0.0] * 8], index=["even", "never"], columns=range(8))
    assert curves.loc["even"].mean() < 0.5, "rounding"
    found = curve_of(curves)
    assert found.solved_late == ["even"]
    assert (found.most_tasks, found.most_tasks_at) == (1, 1)


def test_learning_without_anything_solved_names_no_step() -> None:
    assert curve_of(pd.DataFrame([[0.0, 0.2]], index=["a"], columns=[10, 20])).most_tasks_at is None


def test_the_main_measure_is_the_mean_of_the_last_evaluations(make_results: Make) -> None:
    folder = make_results(Plan(benchmarks=("mt10-rand",), levels={"d2r": 0.6, "mtsac": 0.3}, evaluations=12))
    write_tables(load_results(folder))
    main = pd.read_csv(folder / "tables/main.csv").set_index("method")
    for method in ("d2r", "mtsac"):
        means = []
        for seed in (1, 2, 3):
            metrics = pd.read_csv(folder / f"runs/mt10-rand/{method}/seed{seed}/metrics.csv")
            success = metrics[metrics["quantity"] == "success"]
            last = sorted(success["step"].unique())[-8:]
            means.append(success[success["step"].isin(last)]["value"].mean())
        assert main.loc[method, "success"] == pytest.approx(fmean(means))
    difference = main.loc["mtsac", "success"] - main.loc["d2r", "success"]
    assert main.loc["mtsac", "difference"] == pytest.approx(difference)


def test_bold_and_verdicts_follow_the_adjusted_interval(make_results: Make) -> None:
    plan = Plan(
        benchmarks=("mt10-rand",), seeds=range(1, 7), levels={"d2r": 0.6, "d2r-naive": 0.59, "mtsac": -0.2}
    )
    results = load_results(make_results(plan))
    tables = {table.name: table for table in build_tables(results)}
    shown = {
        name: {
            row[1].text: (row, data) for row, data in zip(table.rows, table.data.itertuples(), strict=True)
        }
        for name, table in tables.items()
        if name in ("main", "ablation", "baselines")
    }
    for name in ("ablation", "baselines"):
        column = list(tables[name].header).index("difference in success, points")
        for title, (row, data) in shown[name].items():
            outside = data.success_low > 0 or data.success_high < 0
            assert row[column].bold == outside == (data.verdict in ("higher", "lower"))
            main_row, main_data = shown["main"][title]
            assert any(cell.bold for cell in main_row) == outside
            assert (main_data.difference_low, main_data.difference_high) == (
                data.success_low,
                data.success_high,
            )
    assert tables["baselines"].data["verdict"].tolist() == ["lower"]
    assert tables["ablation"].data["verdict"].tolist() == ["not separated"]


def test_final_success_makes_nothing_bold(make_results: Make) -> None:
    """All final policies of D2R fail and all of the other method's succeed; their last evaluations are alike."""
    levels = {"d2r": 0.5, "mtsac": 0.5}
    results = load_results(make_results(Plan(benchmarks=("mt10-rand",), levels=levels, evaluations=8)))
    final = results.evaluation.assign(success=(results.evaluation["method"] == "mtsac").astype(float))
    tables = {table.name: table for table in build_tables(replace(results, evaluation=final))}
    assert tables["baselines"].data["final_success"].tolist() == [1.0]
    assert tables["baselines"].data["verdict"].tolist() == ["not separated"]
    assert not any(cell.bold for name in ("main", "baselines") for row in tables[name].rows for cell in row)


def test_two_runs_are_never_bold_and_have_no_verdict(make_results: Make) -> None:
    plan = Plan(seeds=(1, 2), levels={"d2r": 0.9, "d2r-naive": 0.9, "mtsac": -1.0}, evaluations=8)
    tables = {table.name: table for table in build_tables(load_results(make_results(plan)))}
    assert not any(
        cell.bold for name in ("main", "ablation", "baselines") for row in tables[name].rows for cell in row
    )
    assert set(tables["baselines"].data["verdict"]) <= {"fewer than 3 runs", "no interval"}
    answers = {row[5].text for row in tables["difficulty"].rows}
    assert answers <= {"fewer than 3 runs", "no interval", "no run with a ranking"}


def test_tasks_are_counted_in_runs(make_results: Make) -> None:
    plan = Plan(
        benchmarks=("mt10-fixed",), levels={"d2r": 0.6}, evaluations=8, failed=[("mt10-fixed", "d2r", 2)]
    )
    results = load_results(make_results(plan))
    (table,) = (table for table in build_tables(results) if table.name == "tasks")
    for row in table.rows:
        curves = results.metric("success", "mt10-fixed", "d2r")
        means = curves[curves["task"] == row[1].text].groupby("seed")["value"].mean()
        assert row[2].text == f"{(means >= 0.5).sum()} of 2 runs"
        assert row[2].sort == pytest.approx(means.mean())


def test_times_of_another_machine_enter_no_mean(make_results: Make) -> None:
    results = load_results(make_results(Plan(benchmarks=("mt10-rand",), levels={"d2r": 0.5, "mtsac": 0.3})))
    runs = results.runs.copy()
    slow = (runs["method"] == "d2r") & (runs["seed"] == 1)
    runs.loc[slow, ["cpu", "hours"]] = ["model: slow", 99.0]
    tables = {table.name: table for table in build_tables(replace(results, runs=runs))}
    compute = tables["compute"].data.set_index("method")
    assert compute.loc["d2r", "hours_per_run"] < 1
    assert compute.loc["d2r", ["runs_timed", "runs"]].tolist() == [2, 3]
    assert any("model: synthetic" in note for note in tables["compute"].notes)


def test_every_table_is_labelled_and_written_in_three_forms(make_results: Make) -> None:
    results = load_results(make_results(Plan(seeds=(1, 2))))
    write_tables(results)
    for build in BUILDERS:
        table = build(results)
        for suffix in ("csv", "md", "tex"):
            assert (results.folder / "tables" / f"{table.name}.{suffix}").stat().st_size > 0
        if table.name != "published":
            assert "scale smoke, protocol d2r-official" in table.markdown()
        assert all(len(row) == len(table.header) for row in table.rows), table.name


def test_csv_keeps_twelve_significant_digits() -> None:
    table = Table("t", "title", ["a"], [[Cell("x")]], pd.DataFrame({"a": [1 / 3, 2e-7 / 3]}))
    assert table.csv() == "a\n0.333333333333\n6.66666666667e-08\n"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX on this machine")
def test_latex_compiles(make_results: Make, tmp_path: Path) -> None:
    plan = Plan(
        levels={"d2r": 0.7, "d2r-naive": 0.4, "softmod-deep": 0.5},
        failed=[("mt10-rand", "d2r", 1)],
        scale="smoke",
    )
    results = load_results(make_results(plan))
    sources_of_tex = [path for path in write_tables(results) if path.suffix == ".tex"]
    body = "\n".join(rf"\input{{{path}}}\clearpage" for path in sources_of_tex)
    document = (
        rf"\documentclass{{article}}\usepackage{{booktabs,longtable}}\begin{{document}}{body}\end{{document}}"
    )
    (tmp_path / "all.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "all.pdf").stat().st_size > 10_000


@given(st.text())
def test_latex_text_leaves_no_special_character_bare(text: str) -> None:
    bare = re.sub(
        r"\\[&%$#_{}]|\\text(backslash|ascii(tilde|circum))\{\}|\$[^$]*\$|^\{\[\}", "", latex_text(text)
    )
    assert not re.search(r"[&%$#_{}~^\\]", bare)


@given(st.floats(-1e12, 1e12, allow_nan=False).filter(lambda value: abs(value) > 1e-9))
def test_numbers_keep_their_leading_digits(value: float) -> None:
    shown = float(number(value).replace(",", "").replace("−", "-"))
    assert shown == pytest.approx(value, rel=0.006)


def test_a_difference_of_nothing_has_no_minus() -> None:
    assert points_interval(Estimate(-1e-17, -1e-9, 1e-9, 3, "t")) == "+0.0 [+0.0, +0.0]"
    assert points_interval(Estimate(-0.05, -0.1, 0.0, 3, "t")) == "−5.0 [−10.0, +0.0]"


def test_steps_in_words() -> None:
    found = [steps(value) for value in (0, 400, 999.4, 999_400, 999_600, 1_500_000, 999_999_999)]
    assert found == ["0", "400", "999", "999k", "1M", "1.5M", "1G"]


def test_numbers_in_words() -> None:
    assert [percent(1.0), percent(None)] == ["100.0", "–"]


def test_every_published_number_has_a_source_with_a_confidence() -> None:
    assert {source.confidence for source in sources().values()} <= {"exact", "paper-text", "secondary"}
    for value in published_values():
        assert 0 <= value.value <= 100
        assert value.setting
    assert published_text("d2r", "mt50-rand") == "63.5 ± 1.2 [a]"
    assert published_text("d2r", "mt10-rand") == "unknown"
