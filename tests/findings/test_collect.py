"""From run folders to tables, figures and a page."""

from __future__ import annotations

import bz2
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from d2r.errors import UserError
from d2r.files import read_unpacked
from d2r.findings.collect import collect
from d2r.findings.results import load_results
from d2r.report import figures
from d2r.report.figures import write_figures
from d2r.report.page import write_report
from d2r.report.tables import write_tables
from d2r.runs.layout import collected_path
from d2r.runs.record import record_bytes
from tests.support.packed import write_packed
from tests.support.projects import forget_configuration
from tests.support.synthetic import Plan, write_project, write_runs

Make = Callable[[Plan], Path]


@pytest.fixture
def few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """One figure of each kind; drawing all of them twice takes a minute."""
    names = {
        "learning_curves",
        "differences",
        "module_usage",
        "routes_methods",
        "learning_curves_tasks_mt10-rand",
    }
    every = figures.figures_of
    monkeypatch.setattr(
        figures, "figures_of", lambda results: tuple(spec for spec in every(results) if spec.name in names)
    )


def test_same_runs_give_the_same_bytes(make_results: Make, few_figures: None) -> None:
    results = make_results(Plan(benchmarks=("mt10-rand",), levels={"d2r": 0.5, "mtsac": 0.3}, seeds=(1, 2)))

    def everything() -> dict[Path, bytes]:
        collected = collect(results).iterdir()
        loaded = load_results(results)
        paths = [*collected, *write_tables(loaded), *write_figures(loaded), write_report(loaded)]
        return {path: path.read_bytes() for path in paths}

    first = everything()
    for path in first:
        path.unlink()
    assert everything() == first


def test_the_page_names_the_figures_that_there_are(make_results: Make, few_figures: None) -> None:
    loaded = load_results(make_results(Plan(benchmarks=("mt10-rand",), seeds=(1,), levels={"d2r": 0.5})))
    assert "../figures/" not in write_report(loaded).read_text()
    written = write_figures(loaded)
    page = write_report(loaded).read_text()
    assert written
    assert all(f"../figures/{path.name}" in page for path in written)


def test_a_figure_without_data_is_not_written(make_results: Make) -> None:
    loaded = load_results(make_results(Plan(benchmarks=("mt10-rand",), seeds=(1,), levels={"mtsac": 0.5})))
    folder = loaded.folder / "figures"
    folder.mkdir()
    (folder / "differences.svg").write_text("of other runs")
    names = {path.name for path in write_figures(loaded)}
    assert "learning_curves.svg" in names
    assert not any(name.startswith(("differences", "routes", "learning_curves_tasks_mt50")) for name in names)
    assert {path.name for path in folder.iterdir()} == names


def test_missing_and_failed_runs_are_shown_and_not_averaged(make_results: Make) -> None:
    plan = Plan(missing=[("mt10-rand", "d2r", 2)], failed=[("mt10-rand", "mtsac", 1)])
    results = load_results(make_results(plan))
    write_tables(results)
    main = pd.read_csv(results.folder / "tables" / "main.csv").set_index(["benchmark", "method"])
    assert main.loc[("mt10-rand", "d2r"), ["runs_finished", "runs_missing"]].tolist() == [2, 1]
    assert main.loc[("mt10-rand", "mtsac"), ["runs_finished", "runs_failed"]].tolist() == [2, 1]
    evaluation = results.evaluation.query("benchmark == 'mt10-rand' and method == 'mtsac' and seed != 1")
    assert main.loc[("mt10-rand", "mtsac"), "final_success"] == pytest.approx(evaluation["success"].mean())
    success = results.metrics.query(
        "benchmark == 'mt10-rand' and method == 'mtsac' and seed != 1 and quantity == 'success'"
    )
    assert main.loc[("mt10-rand", "mtsac"), "success"] == pytest.approx(success["value"].mean())
    text = (results.folder / "tables" / "main.md").read_text()
    assert "n=2 of 3 (1 missing)" in text
    assert "n=2 of 3 (1 failed)" in text


def test_what_is_not_planned_is_listed_and_not_averaged(make_results: Make) -> None:
    """A seed, a method and a benchmark that are taken out of the scale's file leave what never running them gives."""
    levels = {"d2r": 0.7, "mtsac": 0.3}
    whole = Plan(levels={**levels, "d2r-naive": 0.4}, seeds=(1, 2, 3, 4))
    smaller = Plan(benchmarks=("mt10-fixed",), levels=levels, seeds=(1, 2, 3))
    results = make_results(whole)
    root = results.parents[1]
    write_project(root, smaller)
    forget_configuration()
    collect(results)
    never = root / "never" / results.name
    write_runs(never, smaller)
    collect(never)
    left, right = load_results(results), load_results(never)
    for name in ("runs", "metrics", "evaluation", "routes"):
        pd.testing.assert_frame_equal(
            getattr(left, name).reset_index(drop=True), getattr(right, name).reset_index(drop=True)
        )
    write_tables(left)
    write_tables(right)
    for path in (never / "tables").iterdir():
        if path.stem != "runs":
            assert path.read_bytes() == (results / "tables" / path.name).read_bytes(), path.name
    rows = pd.read_csv(results / "tables" / "runs.csv")
    assert len(rows) == 24
    assert rows["planned"].sum() == 6
    text = (results / "tables" / "runs.md").read_text()
    assert text.count("finished (not in the plan)") == 18
    assert "18 runs are not in the plan of the scale" in text


def test_what_was_run_is_the_plan_of_a_scale_that_is_not_there(make_results: Make) -> None:
    results = make_results(Plan(seeds=(1, 2)))
    (results.parents[1] / "config" / "scales" / "smoke.yaml").unlink()
    forget_configuration()
    collect(results)
    loaded = load_results(results)
    assert loaded.run_counts("mt10-rand", "d2r") == {"finished": 2, "failed": 0, "missing": 0, "all": 2}
    assert "not in the plan" not in notes_of_runs(results)


def changed(results: Path, text: str = "", **changes: object) -> None:
    """Another record of the first run of D2R on ``mt10-rand``, and maybe another ``timing.csv``."""
    folder = results / "runs" / "mt10-rand" / "d2r" / "seed1"
    record = json.loads((folder / "run.json").read_text()) | changes
    if text:
        (folder / "timing.csv").write_text(text)
        record["outputs"]["timing.csv"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "run.json").write_bytes(record_bytes(record))
    collect(results)


def notes_of_runs(results: Path) -> str:
    write_tables(load_results(results))
    return (results / "tables" / "runs.md").read_text()


def test_hours_of_a_resumed_run_are_those_of_all_its_processes(make_results: Make) -> None:
    """The second process took longer to its first evaluation than the first one, so only the zero tells them apart."""
    results = make_results(Plan(seeds=(1,)))
    rows = [
        "step,quantity,value",
        "200,total,400",
        "400,total,0",
        "400,learner,0",
        "600,total,420",
        "800,total,500",
    ]
    changed(results, "\n".join([*rows, ""]), resumes=1)
    runs = load_results(results).runs.set_index(["benchmark", "method", "seed"])
    assert runs.loc[("mt10-rand", "d2r", 1), "hours"] == pytest.approx(900 / 3600)


def test_a_run_that_two_commits_trained_names_both(make_results: Make) -> None:
    results = make_results(Plan(seeds=(1,)))
    changed(results, resumes=1, earlier=[{"commit": "a" * 40, "until_step": 400}])
    assert f"{'a' * 10} then {'0' * 10}" in notes_of_runs(results)


def test_runs_that_were_executed_otherwise_are_marked(make_results: Make) -> None:
    results = make_results(Plan(seeds=(1, 2)))
    plain = {"compile": False, "graph": False, "autocast": "none", "tf32": False}
    changed(results, execution=plain)
    assert "executed with" not in notes_of_runs(results)
    changed(results, execution=plain | {"autocast": "bf16"})
    notes = notes_of_runs(results)
    assert "of 12 runs were executed with --autocast bf16" in notes
    assert "the runs of d2r on mt10-rand differ in more than their seed" in notes


def test_runs_of_another_configuration_than_is_stated_now_are_marked(make_results: Make) -> None:
    results = make_results(Plan(seeds=(1,)))
    assert "another configuration" not in notes_of_runs(results)
    changed(results, config_hash="0" * 64)
    assert "another configuration now than these runs have: d2r on mt10-rand." in notes_of_runs(results)


def test_a_smoke_table_says_so(make_results: Make) -> None:
    results = load_results(make_results(Plan(seeds=(1,))))
    write_tables(results)
    for name in ("main.md", "main.tex"):
        assert "SMOKE" in (results.folder / "tables" / name).read_text()


def test_a_changed_run_file_is_refused(make_results: Make) -> None:
    results = make_results(Plan(seeds=(1,)))
    path = results / "runs" / "mt10-rand" / "d2r" / "seed1" / "metrics.csv"
    path.write_text(path.read_text().replace("800", "801"))
    with pytest.raises(UserError, match=r"metrics\.csv.*sha256"):
        collect(results)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("run.json", "{", "is no record of a run"),
        ("run.json", "{}", "does not have the sha256 that it states"),
        ("metrics.csv", "", "sha256"),
        ("evaluation.csv", None, "is missing"),
    ],
)
def test_damaged_runs_give_one_line(make_results: Make, name: str, text: str | None, message: str) -> None:
    results = make_results(Plan(seeds=(1,)))
    path = results / "runs" / "mt10-rand" / "d2r" / "seed1" / name
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        collect(results)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("value", ["inf", "nan", "1e999", "one"])
def test_a_run_with_numbers_that_are_none_is_refused(make_results: Make, value: str) -> None:
    """Under the right hash, so that it is the number that is refused."""
    results = make_results(Plan(seeds=(1,)))
    folder = results / "runs/mt10-rand/d2r/seed1"
    content = re.sub(r"success,[0-9.]+", f"success,{value}", (folder / "metrics.csv").read_text(), count=1)
    (folder / "metrics.csv").write_text(content)
    record = json.loads((folder / "run.json").read_bytes())
    record["outputs"]["metrics.csv"] = hashlib.sha256(content.encode()).hexdigest()
    (folder / "run.json").write_bytes(record_bytes(record))
    with pytest.raises(UserError, match=r"metrics\.csv: .*column 'value' holds something that is no number"):
        collect(results)


def cut(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3].rstrip(b"\n")


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("runs", lambda content: b""),
        ("runs", lambda content: content.splitlines(keepends=True)[0]),
        ("runs", lambda content: b"a,b\n1,2\n"),
        ("runs", cut),
        ("metrics", cut),
        ("metrics", lambda content: b"\xff\xfe" + content),
        ("metrics", lambda content: content.replace(b"mt10-rand", b"mt11-rand")),
        ("metrics", lambda content: re.sub(rb"success,[0-9.]+", b"success,inf", content, count=1)),
        ("metrics", lambda content: content.replace(b",800,", b",800.5,")),
        ("runs", lambda content: content + content.splitlines(keepends=True)[-1]),
        ("runs", lambda content: content.replace(b",cpu,1,", b",cpu,one,")),
        ("evaluation", lambda content: content.replace(b",0,1,", b",0,yes,")),
        ("routes", lambda content: content.replace(b",weight", b",width")),
    ],
)
def test_damaged_collected_tables_give_one_line(
    make_results: Make, name: str, spoil: Callable[[bytes], bytes]
) -> None:
    results = make_results(Plan(benchmarks=("mt10-rand",), seeds=(1,)))
    path = collected_path(results, name)
    content = read_unpacked(path)
    assert spoil(content) != content
    write_packed(path, spoil(content))
    with pytest.raises(UserError, match=r"run `d2r collect .*` again") as error:
        load_results(results)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda packed: packed[:-20], "is cut off"),
        (lambda packed: packed[:100] + bytes(100) + packed[200:], "is not packed with bzip2"),
        (bz2.decompress, "is not packed with bzip2"),
        (lambda packed: bz2.compress(bz2.decompress(packed)[:-1]), "is cut off"),
        (lambda packed: b"", "is cut off"),
    ],
)
def test_a_packed_table_that_is_damaged_gives_one_line(
    make_results: Make, spoil: Callable[[bytes], bytes], said: str
) -> None:
    results = make_results(Plan(benchmarks=("mt10-rand",), seeds=(1,)))
    path = collected_path(results, "metrics")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError, match=rf"{path.name}: {said}; run `d2r collect .*` again"):
        load_results(results)


def test_a_packed_file_is_not_unpacked_beyond_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "zeros.csv.bz2"
    write_packed(path, bytes(10**7))
    assert path.stat().st_size < 100
    assert len(read_unpacked(path, most=10**7)) == 10**7
    with pytest.raises(OSError, match="is larger than 1,000 bytes unpacked"):
        read_unpacked(path, most=1000)


def test_an_empty_folder_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished run"):
        collect(tmp_path)
    with pytest.raises(UserError, match="d2r collect"):
        load_results(tmp_path)
