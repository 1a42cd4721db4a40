"""What Snakemake does with runs that are finished, killed, stopped, changed or broken."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import yaml

from .conftest import RUNS, Project

NOTHING = "Nothing to be done"


def run_names(project: Project) -> list[str]:
    return sorted(name for name, _ in project.starts())


def test_second_call_does_nothing_even_after_a_checkout_changed_the_times(project: Project) -> None:
    first = project.snakemake("all")
    assert first.returncode == 0, first.stdout
    assert run_names(project) == RUNS
    assert (project.root / "results/smoke/report/index.html").is_file()
    assert NOTHING in project.snakemake("all").stdout
    project.shuffle_times()
    assert NOTHING in project.snakemake("all").stdout
    assert run_names(project) == RUNS


def test_change_of_configuration_trains_exactly_the_runs_it_concerns(project: Project) -> None:
    assert project.snakemake("all").returncode == 0
    project.forget_starts()
    method = project.root / "config/methods/mtsac.yaml"
    content = yaml.safe_load(method.read_text())
    content["network"]["hidden_dim"] = 200
    method.write_text(yaml.safe_dump(content))
    again = project.snakemake("all")
    assert again.returncode == 0, again.stdout
    assert run_names(project) == [name for name in RUNS if "mtsac" in name]


def test_failed_run_does_not_stop_the_others(project: Project) -> None:
    result = project.snakemake("all", STAND_IN_FAILS="mtsac")
    assert result.returncode != 0
    assert run_names(project) == [name for name in RUNS if "/d2r/" in name]
    assert "the stand-in was asked to fail" in result.stdout
    project.forget_starts()
    assert project.snakemake("all").returncode == 0
    assert run_names(project) == [name for name in RUNS if "mtsac" in name]


def test_killed_snakemake_is_taken_up_by_the_same_command(project: Project) -> None:
    child = project.start_snakemake("runs", STAND_IN_SECONDS="60")
    project.wait_for_steps(2)
    child.kill()  # only Snakemake itself: its runs must not train on unseen
    output, _ = child.communicate(timeout=60)
    killed = {name for name, _ in project.starts()}
    assert len(killed) == 2, output
    again = project.snakemake("runs", STAND_IN_SECONDS="0")
    assert again.returncode == 0, again.stdout
    resumed = {name for name, step in project.starts() if step > 0}
    assert resumed == killed
    assert "took over the lock" in again.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_signal_to_the_group_reaches_the_runs_and_loses_nothing(
    project: Project, number: signal.Signals
) -> None:
    child = project.start_snakemake("runs", STAND_IN_SECONDS="60")
    project.wait_for_steps(2)
    os.killpg(child.pid, number)
    child.communicate(timeout=60)
    assert child.returncode != 0
    stopped = {name for name, _ in project.starts()}
    assert len(stopped) == 2, "no further run may start after the signal"
    again = project.snakemake("runs", STAND_IN_SECONDS="0")
    assert again.returncode == 0, again.stdout
    assert {name for name, step in project.starts() if step > 0} == stopped


def test_second_snakemake_in_the_folder_ends_at_once(project: Project) -> None:
    child = project.start_snakemake("runs", STAND_IN_SECONDS="60")
    project.wait_for_steps(2)
    second = project.snakemake("runs")
    assert second.returncode != 0
    assert "cannot be locked" in second.stdout
    assert child.poll() is None
    assert len(project.starts()) == 2


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--config", "scale=smok"], "d2r: error: unknown scale 'smok'; did you mean 'smoke'?"),
        (
            ["--config", "scal=lite"],
            "d2r: error: --config scal=...: unknown key 'scal'; did you mean 'scale'?",
        ),
        (
            ["--config", "imag=x.sif"],
            "d2r: error: --config imag=...: unknown key 'imag'; did you mean 'image'?",
        ),
        (
            ["--config", "image=x.sif"],
            (
                "d2r: error: --config image=x.sif: no such file; make it with `make apptainer`, or give an "
                "address such as docker://REGISTRY/d2r"
            ),
        ),
    ],
)
def test_bad_configuration_ends_in_one_line(project: Project, arguments: list[str], line: str) -> None:
    result = project.snakemake("all", *arguments)
    assert result.returncode == 2
    assert line in result.stdout.splitlines()
    assert "Traceback" not in result.stdout
    assert not (project.root / "results").exists()


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("runs/mt10-rand/d2r/seed01/run.json", "'seed01' is no run's folder; that of seed 1 is 'seed1'"),
        ("runs/mt10-rand/mtsca/seed1/run.json", "unknown method 'mtsca'; did you mean 'mtsac'?"),
        ("runs/mt10-rnd/d2r/seed1/metrics.csv", "unknown benchmark 'mt10-rnd'; did you mean 'mt10-rand'?"),
    ],
)
def test_target_that_no_run_can_have_is_refused_in_one_line(
    project: Project, target: str, complaint: str
) -> None:
    result = project.snakemake(f"results/smoke/{target}")
    assert result.returncode == 2
    assert f"d2r: error: results/smoke/{target}: {complaint}" in result.stdout.splitlines()
    assert not (project.root / "results").exists()


def test_target_of_an_unknown_scale_is_refused_in_one_line(project: Project) -> None:
    result = project.snakemake("results/smok/tables")
    assert result.returncode == 2
    assert "d2r: error: results/smok/tables: unknown scale 'smok'; did you mean 'smoke'?" in result.stdout


def test_scale_whose_name_is_a_number_is_found(project: Project) -> None:
    scales = project.root / "config/scales"
    (scales / "2024.yaml").write_text((scales / "smoke.yaml").read_text().replace("id: smoke", "id: '2024'"))
    result = project.snakemake("-n", "all", "--config", "scale=2024")
    assert result.returncode == 0, result.stdout
    assert "results/2024/report/index.html" in result.stdout


@pytest.mark.parametrize("removed", ["folder", "file"])
def test_removed_run_is_trained_again_by_the_same_command(project: Project, removed: str) -> None:
    assert project.snakemake("all").returncode == 0
    folder = project.root / "results/smoke/runs/mt10-rand/d2r/seed2"
    if removed == "folder":
        shutil.rmtree(folder)
        shutil.rmtree(project.root / "results/smoke/state/mt10-rand/d2r/seed2")
    else:
        (folder / "timing.csv").unlink()
    project.forget_starts()
    tables = project.root / "results/smoke/tables/main.csv"
    tables.unlink()
    again = project.snakemake("all")
    assert again.returncode == 0, again.stdout
    assert run_names(project) == ["mt10-rand/d2r/seed2"]
    assert tables.is_file(), "tables are made of the new run"
    assert NOTHING in project.snakemake("all").stdout


@pytest.mark.parametrize("words", [("all", "--forcerun", "train"), ("all", "--forceall")])
def test_forced_run_is_refused_while_its_training_state_would_be_taken_up(
    project: Project, words: tuple[str, ...]
) -> None:
    """Else it would go on from its last step and publish the same policy again, as if it had trained."""
    assert project.snakemake("all").returncode == 0
    project.forget_starts()
    refused = project.snakemake(*words)
    assert refused.returncode == 2
    (line,) = (line for line in refused.stdout.splitlines() if line.startswith("d2r: error: "))
    assert "and 3 others: training goes on from its last checkpoint" in line
    assert "results/smoke/state" in line
    assert len(list(project.root.glob("results/smoke/runs/*/*/*/run.json"))) == len(RUNS), "nothing is lost"
    assert project.starts() == []
    shutil.rmtree(project.root / "results/smoke/state")
    assert project.snakemake(*words).returncode == 0
    assert run_names(project) == RUNS


def test_editors_files_beside_the_configuration_are_ignored(project: Project) -> None:
    assert project.snakemake("all").returncode == 0
    for kind in ("methods", "protocols", "scales", "benchmarks"):
        folder = project.root / "config" / kind
        (folder / ".#film.yaml").symlink_to("someone@somewhere.1234")
        (folder / ".film.yaml").write_text("half a ")
        (folder / "gone.yaml").symlink_to("nowhere")
    again = project.snakemake("all")
    assert NOTHING in again.stdout, again.stdout


def test_jobs_find_the_environment_of_a_snakemake_that_is_not_on_the_path(project: Project) -> None:
    result = project.snakemake("all", PATH=os.defpath)
    assert result.returncode == 0, result.stdout
    assert run_names(project) == RUNS


@pytest.mark.parametrize("option", ["--report", "--report=report.zip"])
def test_report_before_there_is_anything_says_what_to_run_first(project: Project, option: str) -> None:
    result = project.snakemake(option)
    assert result.returncode == 2
    assert "run `snakemake --cores 8 all --config scale=smoke` first" in result.stdout
    assert project.snakemake("all").returncode == 0
    assert project.snakemake(option).returncode == 0


def test_damaged_scale_file_ends_in_one_line(project: Project) -> None:
    (project.root / "config/scales/smoke.yaml").write_text("seeds: [1")
    result = project.snakemake("all")
    assert result.returncode == 2
    assert "smoke.yaml:1: not valid YAML" in result.stdout
    assert not (project.root / "results").exists()


APPTAINER = """\
#!/bin/sh
# apptainer exec [--home FOLDER] IMAGE SHELL -c COMMAND: notes the image and runs the command outside of it
case "$*" in
  --version) echo "apptainer version 1.3.4" ;;
  *pull*) echo "$*" >>"$NOTES"; touch "$4" ;;
  *)
    while [ "$1" != sh ] && [ "$1" != bash ]; do last=$1; shift; done
    echo "$last" >>"$NOTES"
    exec "$@" ;;
esac
"""


def test_jobs_run_in_the_image_that_the_configuration_names(project: Project, tmp_path: Path) -> None:
    stand_in = project.programs / "apptainer"
    stand_in.write_text(APPTAINER)
    stand_in.chmod(0o755)
    image, notes = tmp_path / "own.sif", tmp_path / "notes"
    image.touch()
    options = ("--sdm", "apptainer", "--config", f"image={image}")
    done = project.snakemake("runs", *options, NOTES=str(notes))
    assert done.returncode == 0, done.stdout
    assert run_names(project) == RUNS
    assert set(notes.read_text().splitlines()) == {str(image)}
