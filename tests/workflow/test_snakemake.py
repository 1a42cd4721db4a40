"""What Snakemake does with runs that are finished, killed, stopped, changed or broken."""

import os
import signal

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
    ],
)
def test_bad_configuration_ends_in_one_line(project: Project, arguments: list[str], line: str) -> None:
    result = project.snakemake("all", *arguments)
    assert result.returncode == 2
    assert line in result.stdout.splitlines()
    assert "Traceback" not in result.stdout
    assert not (project.root / "results").exists()


def test_damaged_scale_file_ends_in_one_line(project: Project) -> None:
    (project.root / "config/scales/smoke.yaml").write_text("seeds: [1")
    result = project.snakemake("all")
    assert result.returncode == 2
    assert "smoke.yaml:1: not valid YAML" in result.stdout
    assert not (project.root / "results").exists()
