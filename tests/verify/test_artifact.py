"""The reviewer's checklist: passes for what was made as it says, and names what is wrong with anything else."""

from __future__ import annotations

import bz2
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from d2r.cli.main import main
from d2r.config import config_hash
from d2r.findings.collect import collect
from d2r.findings.results import load_results
from d2r.report.metrics import write_metrics
from d2r.report.page import write_report
from d2r.report.tables import write_tables
from d2r.runs.record import record_bytes
from d2r.verify.artifact import LOCKS
from tests.support.projects import forget_configuration
from tests.support.targets import World, make_world
from tests.support.tiny import PROJECT


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A run that was trained, released and tabulated."""
    with make_world(tmp_path_factory.mktemp("world")) as made:
        shutil.copytree(PROJECT / "tests/golden", made.project / "tests/golden")
        collect(made.released)
        results = load_results(made.released)
        write_tables(results)
        write_metrics(results)
        yield made


@pytest.fixture
def released(world: World, tmp_path: Path) -> Path:
    """A copy of the release that may be spoilt."""
    return Path(shutil.copytree(world.released, tmp_path / "released/tiny"))


def verdicts(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, tuple[str, str]]]:
    status = main(["verify", "artifact", str(folder), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["passed"] == (status == 0)
    return status, {line["check"]: (line["verdict"], line["detail"]) for line in said["checks"]}


def test_a_whole_release_passes(released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = verdicts(released, capsys)
    assert status == 0, lines
    for check in (
        "manifest",
        "runs",
        "plan",
        "outcome",
        "configuration",
        "numbers",
        "policies",
        "pins",
        "golden",
    ):
        assert lines[check][0] == "ok", lines[check]
    assert lines["tables"][0] == "note"
    assert lines["tables"][1].endswith("byte for byte; not here: figures, report")


def test_a_page_that_the_runs_do_not_give_is_found(
    released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = write_report(load_results(released))
    assert verdicts(released, capsys)[1]["tables"][1].endswith("not here: figures")
    page.write_bytes(page.read_bytes().replace(b"finished", b"finished!", 1))
    status, lines = verdicts(released, capsys)
    assert status == 1
    assert lines["tables"] == ("FAIL", "report/index.html: not what the runs give")


def test_policies_that_are_elsewhere_are_said_and_no_fault(
    released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(released / "policies")
    status, lines = verdicts(released, capsys)
    assert status == 0, lines
    assert "1 policies are not here (dvc pull)" in lines["manifest"][1]


def test_results_that_are_not_released_are_checked_too(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    status, lines = verdicts(world.results, capsys)
    assert status == 0, lines
    assert lines["manifest"][0] == lines["tables"][0] == "note"


def test_what_snakemake_notes_in_its_folders_is_no_table(
    released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (released / "tables/.snakemake_timestamp").touch()
    status, lines = verdicts(released, capsys)
    assert status == 0, lines


def test_runs_that_are_not_planned_are_named_and_lack_nothing(
    world: World, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scale = world.project / "config/scales/tiny.yaml"
    as_it_was = scale.read_text()
    record = world.record()
    try:
        scale.write_text(as_it_was.replace("seeds: [1]", "seeds: [2]"))
        forget_configuration()
        _, lines = verdicts(released, capsys)
    finally:
        scale.write_text(as_it_was)
        forget_configuration()
    verdict, detail = lines["plan"]
    assert verdict == "note"
    run = f"{record['benchmark']}/{record['method']}"
    assert detail == (
        f"0 of the 1 runs that scale 'tiny' plans; missing: {run}/seed2; "
        f"not in the plan, and so in no mean: {run}/seed1"
    )


LOOK_AT_RUNS = ("plan", "outcome", "configuration", "numbers", "policies", "pins", "source", "tables")


def test_what_looked_at_no_run_is_not_ok(released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_metrics(released)
    status, lines = verdicts(released, capsys)
    assert status == 1
    assert "1 damaged" in lines["runs"][1]
    assert {lines[check] for check in LOOK_AT_RUNS} == {("FAIL", "not checked, since no run could be read")}


def test_what_looked_at_some_runs_only_says_so(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = Path(shutil.copytree(world.results, tmp_path / "tiny"))
    second = Path(shutil.copytree(world.key.folder(results), world.key.folder(results).with_name("seed2")))
    status, lines = verdicts(results, capsys)
    assert status == 1
    assert str(second) in lines["runs"][1]
    for check in ("outcome", "configuration", "numbers", "policies", "pins", "source"):
        verdict, said = lines[check]
        assert verdict == "note"
        assert said.endswith("not looked at: 1 damaged runs")


def test_of_failed_runs_no_numbers_are_checked(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = Path(shutil.copytree(world.results, tmp_path / "tiny"))
    path = world.key.folder(results) / "run.json"
    failure = {"message": "q_loss is not finite", "task": None, "step": 9, "quantity": "q_loss"}
    path.write_bytes(record_bytes(json.loads(path.read_bytes()) | {"status": "failed", "failure": failure}))
    assert verdicts(results, capsys)[1]["numbers"] == ("note", "not checked, since no run finished")


def test_lock_files_that_pin_nothing_are_named(
    released: Path,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = Path(
        shutil.copytree(world.project, tmp_path / "project", ignore=shutil.ignore_patterns("results"))
    )
    for lock in LOCKS:
        (project / lock).write_text("")
    monkeypatch.setenv("D2R_ROOT", str(project))
    verdict, said = verdicts(released, capsys)[1]["pins"]
    assert (verdict, said[:24]) == ("FAIL", "metaworld, mujoco, torch")


def change_a_table(released: Path) -> None:
    path = next(iter(sorted((released / "tables").glob("*.csv"))))
    path.write_bytes(path.read_bytes() + b"ours\n")


def add_a_table(released: Path) -> None:
    (released / "tables/best.csv").write_text("method,success\nours,1.0\n")


def change_what_dvc_shows(released: Path) -> None:
    (path,) = released.glob("metrics/success/*/*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"success": 1.0}))


def change_metrics(released: Path) -> None:
    (path,) = released.glob("runs/*/*/*/metrics.csv.bz2")
    path.write_bytes(bz2.compress(bz2.decompress(path.read_bytes()).replace(b"success,0", b"success,1")))


def add_a_pickle(released: Path) -> None:
    (run,) = released.glob("runs/*/*/*")
    (run / "model.pkl").write_bytes(b"cos\nsystem\n")


def add_a_link(released: Path) -> None:
    (path,) = released.glob("runs/*/*/*/metrics.csv.bz2")
    target = released.parent / "elsewhere.csv"
    path.rename(target)
    path.symlink_to(target)


def link_the_runs(released: Path) -> None:
    (released / "runs").rename(released.parent / "elsewhere")
    (released / "runs").symlink_to(released.parent / "elsewhere")


def make_the_record_a_pipe(released: Path) -> None:
    (path,) = released.glob("runs/*/*/*/run.json")
    path.unlink()
    os.mkfifo(path)


def make_the_record_a_folder(released: Path) -> None:
    (path,) = released.glob("runs/*/*/*/run.json")
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "check", "detail"),
    [
        (change_a_table, "tables", "not what the runs give"),
        (add_a_table, "tables", "best.csv"),
        (change_what_dvc_shows, "tables", "not what the runs give"),
        (change_metrics, "manifest", "metrics.csv.bz2: differs"),
        (change_metrics, "runs", "does not have the sha256 that run.json states"),
        (add_a_pickle, "runs", "model.pkl: not a file of a run"),
        (add_a_link, "manifest", "links"),
        (link_the_runs, "manifest", "runs: links"),
        (make_the_record_a_pipe, "runs", "run.json: not a regular file"),
        (make_the_record_a_folder, "runs", "run.json: not a regular file"),
    ],
)
def test_what_is_wrong_is_named(
    spoil: Callable[[Path], None], check: str, detail: str, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(released)
    status, lines = verdicts(released, capsys)
    assert status == 1
    assert lines[check][0] == "FAIL"
    assert detail in lines[check][1]


def test_a_record_that_was_forged_whole_is_held_against_pins_configuration_and_budget(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hashes say that nothing was changed since; these lines say whether it was right to begin with."""
    forged = Path(shutil.copytree(world.results, tmp_path / "tiny"))
    path = world.key.folder(forged) / "run.json"
    record = json.loads(path.read_bytes())
    record["packages"]["mujoco"] = "3.4.0"
    record["steps"] = 59
    path.write_bytes(record_bytes(record))
    status, lines = verdicts(forged, capsys)
    assert status == 1
    assert lines["runs"][0] == "ok"
    assert lines["pins"] == ("FAIL", "mujoco 3.4.0, locked 3.3.0")
    assert "59 steps of 60" in lines["numbers"][1]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"status": "failed"}, "failure"),
        ({"status": "failed", "failure": {}}, "failure"),
        ({"packages": None}, "packages"),
        ({"packages": ["torch 2.13.0"]}, "packages"),
        ({"packages": {"torch": ["2.13.0"]}}, "packages"),
        ({"cpu": "x86"}, "cpu"),
        ({"outputs": []}, "outputs"),
        ({"earlier": 1}, "earlier"),
        ({"earlier": ["a1b2c3"]}, "earlier"),
    ],
)
def test_a_sealed_record_of_another_form_is_damaged(
    changes: dict[str, object], key: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    results = world.copy_of_run("run.json", record_bytes(world.record() | changes))
    status, lines = verdicts(results, capsys)
    assert status == 1
    assert lines["runs"][0] == "FAIL"
    assert (
        f"run.json: is no record of a run ('{key}' is missing or not what training writes" in lines["runs"][1]
    )


def test_sources_of_every_process_that_trained_a_run_are_named(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run may begin on changed sources and be resumed on clean ones."""
    last = {"commit": "b" * 40, "dirty": False}
    begun = {"until_step": 30, "commit": "a" * 40, "dirty": True}
    results = world.copy_of_run("run.json", record_bytes(world.record() | last | {"earlier": [begun]}))
    status, lines = verdicts(results, capsys)
    assert status == 0, lines
    verdict, detail = lines["source"]
    assert verdict == "note"
    assert f"commit {'a' * 12}, {'b' * 12}" in detail
    assert "made from changed sources" in detail


@pytest.mark.parametrize(
    ("name", "entry", "detail"),
    [
        (
            "runs/a/b/seed1/run.json",
            {"sha256": "", "bytes": float("inf")},
            "MANIFEST.json: not a manifest of schema 1",
        ),
        (
            "runs/a/\ud800/seed1/run.json",
            {"sha256": "", "bytes": 1},
            "MANIFEST.json: has been changed, or is of another scale",
        ),
        (
            f"runs/{'x' * 300}/d2r/seed1/run.json",
            {"sha256": "", "bytes": 1},
            "cannot be a file's (File name too long)",
        ),
        ("runs/\ud800", {"sha256": "", "bytes": 1}, "'runs/\\ud800' is no run's file"),
    ],
)
def test_a_manifest_with_an_impossible_entry_is_named(
    name: str, entry: dict[str, object], detail: str, released: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = released / "MANIFEST.json"
    document = json.loads(path.read_bytes())
    document["files"] = dict(sorted((document["files"] | {name: entry}).items()))
    path.write_text(json.dumps(document, indent=1) + "\n")
    assert main(["verify", "artifact", str(released)]) == 1
    assert detail in capfd.readouterr().out


def test_episodes_of_another_task_are_named(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    content = (world.run / "evaluation.csv").read_bytes().replace(b"reach-v3", b"reach-v9")
    status, lines = verdicts(world.copy_of_run("evaluation.csv", content), capsys)
    assert status == 1
    assert "does not hold the tasks of mt10-rand" in lines["numbers"][1]


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (float("nan"), torch.float32, "holds a value that is no finite number"),
        (float("inf"), torch.float32, "holds a value that is no finite number"),
        (0.0, torch.float64, "does not hold the tensors of a 'mtsac' actor"),
        (0.0, torch.int64, "does not hold the tensors of a 'mtsac' actor"),
    ],
)
def test_a_policy_of_other_numbers_is_refused(
    value: float, dtype: torch.dtype, message: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = load((world.run / "policy.safetensors").read_bytes())
    name = min(tensors)
    tensors[name] = torch.full_like(tensors[name], value, dtype=dtype)
    results = world.copy_of_run("policy.safetensors", save(tensors))
    status, lines = verdicts(results, capsys)
    assert status == 1
    assert message in lines["policies"][1]
    assert main(["evaluate", str(world.key.folder(results))]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("network", "hidden_dim", 2**16),
        ("network", "hidden_dim", 10**12),
        ("budget", "evaluation_episodes", 10**9),
    ],
)
def test_sizes_that_no_run_has_are_refused(
    part: str, key: str, value: int, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record's hashes are right: whoever wrote the sizes sealed them."""
    record = world.record()
    record["config"][part][key] = value
    record["config_hash"] = config_hash(record["config"])
    results = world.copy_of_run("run.json", record_bytes(record))
    status, lines = verdicts(results, capsys)
    assert status == 1
    assert "FAIL" in (lines["runs"][0], lines["policies"][0])


def test_a_record_that_is_not_sealed_is_damaged(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    record = world.record() | {"schema": 1}
    del record["sha256"]
    results = world.copy_of_run("run.json", json.dumps(record, indent=1).encode() + b"\n")
    status, lines = verdicts(results, capsys)
    assert status == 1
    assert "does not have the sha256 that it states" in lines["runs"][1]


@pytest.mark.parametrize(
    "command", [["verify", "artifact"], ["collect", "--results"], ["tables", "--results"]]
)
def test_a_path_that_is_too_long_gets_one_line(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "x" * 5000]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "File name too long" in said


def test_collected_that_is_a_file_gets_one_line(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    results = world.copy_of_run("run.json", record_bytes(world.record()))
    (results / "collected").write_text("")
    assert main(["collect", "--results", str(results)]) == 2
    assert "collected: File exists" in capsys.readouterr().err


def test_runs_made_with_another_configuration_are_named(
    world: World, released: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = world.project / "config/scales/tiny.yaml"
    whole = scale.read_text()
    try:
        scale.write_text(whole.replace("batch_per_task: 4", "batch_per_task: 5"))
        forget_configuration()
        status, lines = verdicts(released, capsys)
    finally:
        scale.write_text(whole)
        forget_configuration()
    assert status == 1
    assert "made with another configuration" in lines["configuration"][1]


def test_a_folder_without_runs_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "artifact", str(tmp_path)]) == 2
    assert "no folder 'runs' in it" in capsys.readouterr().err
