"""What ``d2r release`` accepts, what it refuses, and what a fresh clone can do with the result."""

import bz2
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from d2r.config import load_scale, plan_runs, resolve_run
from d2r.errors import UserError
from d2r.release.publish import release_scale, released_scales
from d2r.runs.layout import learner_path
from d2r.runs.manifest import check_manifest, read_manifest, write_manifest
from d2r.runs.record import record_bytes
from d2r.runs.starts import is_finished, source_folder
from tests.support.projects import forget_configuration

from .conftest import RUNS, SCALE, SOURCE, Project
from .stand_in import publish


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``results`` with every run of the stand-in's scale."""
    shutil.copytree(SOURCE / "config", tmp_path / "config")
    (tmp_path / "config" / "scales" / "tiny.yaml").write_text(SCALE.replace("id: smoke", "id: tiny"))
    monkeypatch.setenv("D2R_ROOT", str(tmp_path))
    results = tmp_path / "results"
    scale = load_scale("tiny")
    for key in plan_runs(scale):
        config = resolve_run(scale, key.benchmark, key.method, key.seed)
        publish(key, config, key.folder(results / "tiny"), "2026-01-01T00:00:00+00:00", 800)
    return results


def release(results: Path, **choices: bool):
    return release_scale(load_scale("tiny"), results / "tiny", results / "released" / "tiny", **choices)


def test_release_moves_every_file_once_and_hashes_it(folder: Path) -> None:
    before = {p.relative_to(folder / "tiny/runs"): p.read_bytes() for p in folder.glob("tiny/runs/*/*/*/*")}
    outcome = release(folder)
    assert len(outcome.moved) == len(RUNS)
    assert not outcome.missing
    released = folder / "released" / "tiny"
    assert check_manifest(released) == (len(before), 0)
    for relative, content in before.items():
        source = folder / "tiny" / "runs" / relative
        assert source.read_bytes() == content, "the run can still be read where it was trained"
        if relative.name == "metrics.csv":
            (packed,) = released.glob(f"runs/{relative}*")
            assert bz2.decompress(packed.read_bytes()) == content, "the largest table is packed"
        else:
            assert source.is_symlink(), "and the bytes are in one place"
            assert source.resolve().is_relative_to(released)
    assert not list((released / "runs").rglob("*.safetensors")), "git holds no policy"
    assert released_scales(folder / "released" / "scales.yaml") == ["tiny"]


def test_release_again_changes_nothing(folder: Path) -> None:
    release(folder)
    released = folder / "released"
    before = {p: p.read_bytes() for p in released.rglob("*") if p.is_file()}
    outcome = release(folder)
    assert not outcome.moved
    assert len(outcome.already) == len(RUNS)
    assert {p: p.read_bytes() for p in released.rglob("*") if p.is_file()} == before


def test_unfinished_scale_is_refused_unless_partial(folder: Path) -> None:
    shutil.rmtree(folder / "tiny/runs/mt10-rand/mtsac/seed2")
    with pytest.raises(
        UserError, match="1 of 4 runs of 'tiny' are not finished, such as mt10-rand/mtsac/seed2"
    ):
        release(folder)
    assert not (folder / "released").exists(), "nothing is half released"
    assert len(release(folder, partial=True).moved) == 3


@pytest.mark.parametrize("lost", ["the folder", "a byte"])
def test_a_released_run_that_was_lost_is_released_again_before_links_replace_its_source(
    folder: Path, lost: str
) -> None:
    release(folder, keep=True)
    source, released = (folder / path / "runs/mt10-rand/mtsac/seed2" for path in ("tiny", "released/tiny"))
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    if lost == "the folder":
        shutil.rmtree(released)
    else:
        packed = released / "metrics.csv.bz2"
        packed.write_bytes(packed.read_bytes()[:-1])
    assert len(release(folder).moved) == 1
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before
    check_manifest(folder / "released/tiny")


@pytest.mark.parametrize("name", ["metrics.csv", "policy.safetensors", "run.json"])
def test_damaged_run_is_refused_before_anything_is_moved(folder: Path, name: str) -> None:
    path = folder / "tiny/runs/mt10-rand/mtsac/seed2" / name
    path.write_bytes(path.read_bytes()[:-5] + b"?????")
    with pytest.raises(UserError, match=name):
        release(folder)
    assert not (folder / "released").exists()


def test_run_of_another_configuration_is_refused(folder: Path) -> None:
    path = folder / "tiny/runs/mt10-rand/mtsac/seed2/run.json"
    record = json.loads(path.read_text())
    path.write_bytes(record_bytes(record | {"config_hash": "0" * 64}))
    with pytest.raises(UserError, match="another configuration"):
        release(folder)


def test_new_content_takes_a_released_runs_place_only_when_asked(folder: Path) -> None:
    release(folder)
    key = plan_runs(load_scale("tiny"))[0]
    config = resolve_run(load_scale("tiny"), key.benchmark, key.method, key.seed)
    publish(key, config, key.folder(folder / "tiny"), "2026-02-02T00:00:00+00:00", 800)
    with pytest.raises(UserError, match="--replace"):
        release(folder)
    assert len(release(folder, replace=True).moved) == 1
    check_manifest(folder / "released" / "tiny")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change_the_budget(folder: Path) -> None:
    scale_file = folder.parent / "config/scales/tiny.yaml"
    scale_file.write_text(re.sub(r"warmup_steps: \d+", "warmup_steps: 410", scale_file.read_text()))
    forget_configuration()


def train_one(folder: Path) -> None:
    shutil.rmtree(folder / "tiny/runs")
    key = plan_runs(load_scale("tiny"))[0]
    config = resolve_run(load_scale("tiny"), key.benchmark, key.method, key.seed)
    publish(key, config, key.folder(folder / "tiny"), "2026-02-02T00:00:00+00:00", 800)


def test_runs_of_two_configurations_never_stand_in_one_release(folder: Path) -> None:
    release(folder)
    change_the_budget(folder)
    train_one(folder)
    before = contents(folder / "released")
    with pytest.raises(UserError, match=r"3 released runs are lost, or were made with another.*--replace"):
        release(folder, partial=True)
    assert contents(folder / "released") == before
    outcome = release(folder, partial=True, replace=True)
    assert (len(outcome.moved), len(outcome.dropped), len(outcome.missing)) == (1, 3, 3)
    released = folder / "released/tiny"
    check_manifest(released)
    assert len(list(released.glob("runs/*/*/seed*"))) == len(list(released.rglob("*.safetensors"))) == 1


def test_runs_of_a_method_that_is_gone_are_dropped(folder: Path) -> None:
    release(folder)
    train_one(folder)
    scale_file = folder.parent / "config/scales/tiny.yaml"
    scale_file.write_text(scale_file.read_text().replace(", mtsac", ""))
    (folder.parent / "config/methods/mtsac.yaml").unlink()
    forget_configuration()
    outcome = release(folder, partial=True, replace=True)
    assert {place.parts[1] for place in outcome.dropped} == {"mtsac"}
    check_manifest(folder / "released/tiny")


def test_a_release_is_never_emptied(folder: Path) -> None:
    release(folder)
    change_the_budget(folder)
    shutil.rmtree(folder / "tiny/runs")
    before = contents(folder / "released")
    with pytest.raises(UserError, match="train a run to release in their place"):
        release(folder, partial=True, replace=True)
    assert contents(folder / "released") == before


def test_a_damaged_released_run_is_not_dropped(folder: Path) -> None:
    release(folder)
    train_one(folder)
    victim = folder / "released/tiny/runs/mt10-rand/mtsac/seed2/metrics.csv.bz2"
    victim.unlink()
    before = contents(folder / "released")
    with pytest.raises(UserError, match=r"mtsac/seed2: differs from MANIFEST\.json; restore it from git"):
        release(folder, partial=True, replace=True)
    assert contents(folder / "released") == before


def test_a_lost_manifest_is_made_again_from_the_links(folder: Path) -> None:
    release(folder)
    before = contents(folder / "released")
    (folder / "released/tiny/MANIFEST.json").unlink()
    release(folder)
    assert contents(folder / "released") == before


def test_policies_that_no_manifest_lists_are_left_alone(folder: Path) -> None:
    release(folder)
    stranger = folder / "released/tiny/policies/mt10-rand/d2r/seed7.safetensors"
    stranger.write_bytes(b"somebody's")
    release(folder)
    assert stranger.read_bytes() == b"somebody's"


def test_policies_that_were_not_pulled_are_not_dropped(folder: Path) -> None:
    release(folder)
    shutil.rmtree(folder / "released/tiny/policies")
    with pytest.raises(UserError, match="dvc pull"):
        release(folder)


@pytest.mark.parametrize("path", ["../../outside", "/etc/passwd", "runs/../../x"])
def test_manifest_cannot_name_files_outside_its_folder(folder: Path, path: str) -> None:
    release(folder)
    manifest = folder / "released/tiny/MANIFEST.json"
    document = json.loads(manifest.read_text())
    document["files"][path] = {"sha256": "0" * 64, "bytes": 1}
    manifest.write_text(json.dumps(document))
    with pytest.raises(UserError, match="leaves the folder"):
        read_manifest(manifest.parent)


@pytest.mark.parametrize(
    "path", ["runs/mt10-rand/run.json", "runs/x", "runs/a/b/seedX/run.json", "runs/a/b/seed1/x.pkl"]
)
def test_manifest_cannot_name_what_is_no_runs_file(folder: Path, path: str) -> None:
    release(folder)
    manifest = folder / "released/tiny/MANIFEST.json"
    document = json.loads(manifest.read_text())
    document["files"][path] = {"sha256": "0" * 64, "bytes": 1}
    document["files"] = dict(sorted(document["files"].items()))
    manifest.write_text(json.dumps(document, indent=1) + "\n")
    before = contents(folder / "released")
    with pytest.raises(UserError, match="is no run's file"):
        release(folder, replace=True)
    assert contents(folder / "released") == before


def test_change_to_a_released_file_is_found(folder: Path) -> None:
    release(folder)
    released = folder / "released/tiny"
    victim = released / "runs/mt10-rand/d2r/seed1/evaluation.csv"
    content = victim.read_bytes()
    victim.write_bytes(content.replace(b"0", b"1"))
    with pytest.raises(UserError, match=r"evaluation\.csv: differs"):
        check_manifest(released)
    victim.unlink()
    with pytest.raises(UserError, match="missing"):
        check_manifest(released)
    victim.write_bytes(content)
    (released / "runs/extra.csv").write_text("")
    with pytest.raises(UserError, match=r"extra\.csv: is not in"):
        check_manifest(released)


def test_a_manifest_that_names_no_file_checks_nothing(folder: Path) -> None:
    released = folder / "released/tiny"
    write_manifest(released, "tiny", {})
    with pytest.raises(UserError, match="names no file"):
        check_manifest(released)


@pytest.mark.slow
def test_fresh_clone_reproduces_tables_and_pulls_policies(project: Project, tmp_path: Path) -> None:
    def call(*command: str) -> str:
        done = project.call(*command)
        assert done.returncode == 0, done.stdout
        return done.stdout

    call("git", "init", "--quiet")
    (project.root / "results/released").mkdir(parents=True)
    shutil.copy(SOURCE / "results/released/README.md", project.root / "results/released")
    call("snakemake", "--cores", "2", "all")
    assert "4 runs moved" in call("d2r", "release", "smoke")
    call("dvc", "repro", "--quiet")
    call("git", "add", ".")
    call("git", "commit", "--quiet", "-m", "Release")
    assert call("git", "status", "--porcelain") == ""
    assert "Nothing to be done" in call("snakemake", "--cores", "2", "all"), (
        "a released run is not trained again"
    )

    clone = Project(tmp_path / "clone", project.environment, project.programs)
    project.call("git", "clone", "--quiet", str(project.root), str(clone.root))
    released = clone.root / "results/released/smoke"
    assert not (released / "policies").exists()
    tables = (released / "tables/main.csv").read_bytes()
    again = clone.call("dvc", "repro", "--force")
    assert again.returncode == 0, again.stdout
    assert (released / "tables/main.csv").read_bytes() == tables
    assert clone.call("git", "status", "--porcelain").stdout == ""
    assert clone.call("dvc", "pull").returncode == 0
    assert len(list((released / "policies").rglob("*.safetensors"))) == 4
    assert "policies not here" not in clone.call("d2r", "release", "smoke", "--check").stdout
    assert clone.call("git", "status", "--porcelain").stdout == ""


def test_dvc_finds_d2r_of_its_environment_where_that_is_not_on_the_path(project: Project) -> None:
    """Else it would delete the tracked tables before it finds that there is no such command."""
    assert project.call("snakemake", "--cores", "2", "all").returncode == 0
    assert project.call("git", "init", "--quiet").returncode == 0
    (project.root / "results/released").mkdir(exist_ok=True)
    bare = {"PATH": os.defpath}
    released = project.call(str(project.programs / "d2r"), "release", "smoke", **bare)
    assert released.returncode == 0, released.stdout
    again = project.call(str(project.programs / "dvc"), "repro", "--force", **bare)
    assert again.returncode == 0, again.stdout
    assert (project.root / "results/released/smoke/tables/main.csv").is_file()
    editors = project.root / "config/methods/.#film.yaml"
    editors.symlink_to("someone@somewhere.1234")
    assert "up to date" in project.call(str(project.programs / "dvc"), "status", **bare).stdout


def test_a_learner_is_released_beside_its_policy_at_once_or_later(folder: Path) -> None:
    run = "mt10-rand/d2r/seed1"
    learner = folder / "tiny/runs" / run / "learner.safetensors"
    released = folder / "released/tiny"
    release(folder)
    without = read_manifest(released)
    learner.write_bytes(b"learner")
    assert [str(place) for place in release(folder).moved] == [run]
    place = released / "policies" / f"{run}.learner.safetensors"
    assert place.read_bytes() == b"learner"
    assert learner.is_symlink()
    assert learner_path(released / "runs" / run) == place
    entries = read_manifest(released)
    assert entries.keys() - without.keys() == {f"policies/{run}.learner.safetensors"}
    check_manifest(released)
    assert not release(folder).moved
    learner.unlink()
    assert not release(folder).moved, "a learner that is released stays so"
    assert read_manifest(released) == entries
    shutil.rmtree(folder / "tiny/runs" / run)
    other = folder / "tiny/runs/mt10-rand/d2r/seed2/run.json"
    assert other.exists()
    assert not release(folder).dropped


def test_a_run_is_started_from_where_it_was_released_if_it_is_not_here(folder: Path) -> None:
    source = resolve_run(load_scale("tiny"), "mt10-rand", "d2r", 1)
    results = folder / "transfer"
    here = folder / "tiny/runs/mt10-rand/d2r/seed1"
    (here / "learner.safetensors").write_bytes(b"learner")
    assert source_folder(source, results) == here
    release(folder)
    shutil.rmtree(folder / "tiny")
    there = folder / "released/tiny/runs/mt10-rand/d2r/seed1"
    assert source_folder(source, results) == there
    assert is_finished(source, results)
    learner_path(there).unlink()
    assert source_folder(source, results) == here, "where it is trained"
