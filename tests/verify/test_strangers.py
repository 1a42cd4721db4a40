"""What a stranger wrote into a run reaches no terminal raw, no figure as mathematics, and no name unchecked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from d2r.cli.main import main
from d2r.errors import UserError
from d2r.files import read_unpacked
from d2r.findings.collect import collect
from d2r.findings.results import load_results
from d2r.limits import refuse_shortage
from d2r.report.figures.style import house_style, new_figure, save
from d2r.report.page import write_report
from d2r.report.tables import write_tables
from d2r.runs.layout import collected_path
from d2r.runs.record import record_bytes
from tests.support.targets import World, make_world
from tests.support.tiny import PROJECT

FORGED = "x\n  ok    runs           all is well\r\x1b[2K\x1b]0;title\x07\u202e\u2028"
NAMES = ["$x^2$", "a\0b", "\ud800", "a\nb", "\x1b[31m", "a/b", "..", "", "x" * 5000]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A finished, released run in a project of its own."""
    with make_world(tmp_path_factory.mktemp("world")) as made:
        shutil.copytree(PROJECT / "tests/golden", made.project / "tests/golden")
        yield made


def forged(world: World) -> Path:
    """Results whose record holds line ends and escape sequences wherever it holds free text."""
    record = world.record()
    record["packages"]["torch\n\x1b[1m"] = FORGED
    record |= {
        "commit": FORGED,
        "device": FORGED,
        "cpu": record["cpu"] | {"model": FORGED, FORGED: FORGED},
        "earlier": [
            {"commit": FORGED, "dirty": True, "cpu": {"model": FORGED}, "packages": {FORGED: FORGED}}
        ],
    }
    return world.copy_of_run("run.json", record_bytes(record))


def failed(world: World) -> Path:
    """Results of a run that failed, with a forged message."""
    failure = {"task": "reach-v3", "step": 3, "quantity": FORGED, "message": FORGED}
    return world.copy_of_run(
        "run.json", record_bytes(world.record() | {"status": "failed", "failure": failure})
    )


def assert_harmless(text: str) -> None:
    assert all(line.isprintable() for line in text.split("\n")), text
    assert "\n  ok    runs           all is well" not in text


@pytest.mark.parametrize("spoil", [forged, failed])
def test_no_line_of_the_checklist_is_forged(
    spoil: Any, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    results = spoil(world)
    main(["verify", "artifact", str(results)])
    said = capsys.readouterr().out
    assert_harmless(said)
    checks = [line.split()[1] for line in said.splitlines()[1:-1]]
    assert len(checks) == len(set(checks)) == 11
    assert r"x\n  ok    runs" in said, "shown, as what it is"


@pytest.mark.parametrize("spoil", [forged, failed])
def test_no_table_and_no_page_holds_what_commands_a_terminal(spoil: Any, world: World) -> None:
    results = spoil(world)
    collect(results)
    write_tables(load_results(results))
    page = write_report(load_results(results))
    for path in [*(results / "collected").iterdir(), *(results / "tables").iterdir()]:
        assert_harmless(read_unpacked(path).decode())
    assert "\x1b" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["scale", "benchmark", "method", "protocol"])
@pytest.mark.filterwarnings("error")
def test_what_is_no_name_is_refused_at_the_border(
    key: str, name: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    record = world.record()
    record[key] = name
    if key != "protocol":
        record["config"][key] = name
    results = world.copy_of_run("run.json", record_bytes(record))
    folder = world.key.folder(results)
    for command in (
        ["collect", "--results", str(results)],
        ["evaluate", str(folder)],
        ["routes", str(folder)],
    ):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"'{key}' is missing or not what training writes" in said
    assert main(["verify", "artifact", str(results)]) == 1
    assert f"'{key}' is missing or not what training writes" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["$x^2$", "\x1b[31m", "x" * 5000])
@pytest.mark.parametrize(("file", "column"), [("evaluation.csv", 0), ("metrics.csv", 1), ("metrics.csv", 2)])
def test_a_task_or_quantity_that_is_no_name_is_refused(
    file: str, column: int, name: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *rows = (world.run / file).read_text().splitlines()
    cells = rows[0].split(",")
    cells[column] = name
    content = "\n".join([header, ",".join(cells), *rows[1:], ""])
    results = world.copy_of_run(file, content.encode())
    assert main(["collect", "--results", str(results)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.rstrip("\n").isprintable()
    assert f"column '{header.split(',')[column]}' holds" in said


@pytest.mark.parametrize(
    ("file", "column", "value"),
    [
        ("metrics.csv", 3, "1e308"),
        ("metrics.csv", 3, "-1e308"),
        ("metrics.csv", 0, str(10**18)),
        ("metrics.csv", 0, "-1"),
        ("evaluation.csv", 2, "2"),
        ("evaluation.csv", 3, "1e308"),
        ("timing.csv", 2, "1e308"),
    ],
)
def test_a_number_that_no_figure_can_show_is_refused(
    file: str, column: int, value: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *rows = (world.run / file).read_text().splitlines()
    cells = rows[0].split(",")
    cells[column] = value
    content = "\n".join([header, ",".join(cells), *rows[1:], ""])
    results = world.copy_of_run(file, content.encode())
    assert main(["collect", "--results", str(results)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{file}: is not a table of ours (column '{header.split(',')[column]}' holds" in said


def test_a_weight_that_is_no_share_is_refused(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    content = b"step,task,target,source,weight\n60,reach-v3,out,1,1e308\n"
    assert main(["collect", "--results", str(world.copy_of_run("routes.csv", content))]) == 2
    assert "column 'weight' holds 1e+308, which is not from 0 to" in capsys.readouterr().err


def test_a_finished_run_without_an_episode_is_refused(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    content = b"task,episode,success,return\n"
    assert main(["collect", "--results", str(world.copy_of_run("evaluation.csv", content))]) == 2
    assert "evaluation.csv: holds no episode, and the run finished" in capsys.readouterr().err


def test_a_name_with_a_nul_is_not_cut_off_there(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    content = (world.run / "evaluation.csv").read_bytes().replace(b"reach-v3", b"reach-v3\0evil")
    assert main(["collect", "--results", str(world.copy_of_run("evaluation.csv", content))]) == 2
    assert "evaluation.csv: is not a table (it holds a NUL)" in capsys.readouterr().err


def test_a_limit_of_this_process_is_no_fault_of_the_folder(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        refuse_shortage(MemoryError())

    monkeypatch.setattr("d2r.verify.artifact.read_table", fail)
    results = world.copy_of_run("run.json", record_bytes(world.record()))
    assert main(["verify", "artifact", str(results)]) == 2
    assert "not enough memory" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["$x^2$", "x" * 5000])
def test_collected_tables_of_a_stranger_are_read_as_warily(name: str, world: World) -> None:
    results = world.copy_of_run("run.json", record_bytes(world.record()))
    collect(results)
    path = collected_path(results, "runs")
    path.write_text(path.read_text().replace(",mtsac,", f",{name},"))
    with pytest.raises(UserError, match="something else than it should in column 'method'"):
        load_results(results)


def test_a_dollar_in_a_figure_is_a_dollar(tmp_path: Path) -> None:
    with house_style():
        figure = new_figure(2, 2)
        figure.text(0.5, 0.5, r"from $5 to $\frac{ and on")
        drawing, _ = save(figure, tmp_path, "figure")
    assert r"from $5 to $\frac{ and on" in drawing.read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"commit": "unknown", "dirty": None}, "a commit is unknown"),
        ({"commit": None, "dirty": None}, "a commit is unknown"),
        (
            {"commit": "a" * 40, "dirty": None},
            "whether sources were changed is unknown of mt10-rand/mtsac/seed1",
        ),
    ],
)
def test_what_is_not_known_of_the_source_is_said(
    changes: dict[str, object], said: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    results = world.copy_of_run("run.json", record_bytes(world.record() | changes))
    assert main(["verify", "artifact", str(results), "--json"]) == 0
    lines = {line["check"]: line for line in json.loads(capsys.readouterr().out)["checks"]}
    assert lines["source"]["verdict"] == "note"
    assert said in lines["source"]["detail"]
