"""A stop that comes through Snakemake or `docker stop` leaves a checkpoint, and the same command goes on from it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.tiny import PATIENCE, PROJECT, Training, environment, make_project, wait_until

pytestmark = pytest.mark.slow
METHOD = "mtsac"
SNAKEMAKE = ["--cores", "1", "runs", "--config", "scale=tiny"]
IMAGE = os.environ.get("D2R_IMAGE", "d2r")


@pytest.fixture
def training(tmp_path: Path) -> Training:
    """A project with the real workflow and one run in it."""
    folder = make_project(tmp_path / "project")
    for name in ("workflow", "profiles"):
        shutil.copytree(PROJECT / name, folder / name)
    shutil.copy(PROJECT / "Snakefile", folder)
    command = folder / "bin/d2r"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m d2r.cli.main "$@"\n')
    command.chmod(0o755)
    return Training(folder, METHOD)


def wait_for_checkpoint(training: Training, step: int, has_ended: Callable[[], bool]) -> None:
    wait_until(lambda: training.checkpointed() >= step or has_ended())
    assert training.checkpointed() >= step, "it ended too early"


def log(training: Training) -> str:
    return (training.results / "logs/train/mt10-rand" / METHOD / "seed1.log").read_text()


@pytest.mark.parametrize(("number", "status", "workers"), [(signal.SIGTERM, 143, 2), (signal.SIGINT, 130, 0)])
def test_the_command_itself(
    number: int, status: int, workers: int, training: Training, counts: Counter[str]
) -> None:
    process = training.start(workers)
    wait_for_checkpoint(training, 30, lambda: process.poll() is not None)
    process.send_signal(signal.SIGSTOP)  # so that it cannot end before the second one comes
    second = Training(training.project, METHOD).start()
    _, refusal = second.communicate(timeout=PATIENCE)
    process.send_signal(signal.SIGCONT)
    assert second.returncode == 2
    assert f"process {process.pid} on" in refusal
    assert refusal.count("\n") == 1
    process.send_signal(number)
    said, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, err
    stopped_at = training.checkpointed()
    assert f"stopped by signal {number} at step {stopped_at}, checkpoint written" in said
    assert f"resumed at step {stopped_at}" in training.finish()
    counts["stops obeyed"] += 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_through_snakemake(number: int, training: Training, counts: Counter[str]) -> None:
    environ = environment(training.project)
    environ["PATH"] = f"{training.project / 'bin'}:{Path(sys.executable).parent}:{environ['PATH']}"
    command = [sys.executable, "-m", "snakemake", *SNAKEMAKE]
    snakemake = subprocess.Popen(
        command,
        cwd=training.project,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait_for_checkpoint(training, 30, lambda: snakemake.poll() is not None)
    os.killpg(snakemake.pid, number)
    said, _ = snakemake.communicate(timeout=PATIENCE)
    assert snakemake.returncode not in (0, None), said
    stopped_at = training.checkpointed()
    assert stopped_at >= 30
    assert f"stopped by signal {number} at step {stopped_at}, checkpoint written" in log(training), said
    again = subprocess.run(
        command,
        cwd=training.project,
        env=environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"resumed at step {stopped_at}" in log(training)
    counts["stops obeyed"] += 1


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def has_image() -> bool:
    return shutil.which("docker") is not None and docker("image", "inspect", IMAGE).returncode == 0


@pytest.mark.skipif(not has_image(), reason=f"no Docker engine with an image '{IMAGE}' (make image)")
def test_through_docker_stop(training: Training, counts: Counter[str]) -> None:
    training.results.parent.mkdir()
    where = [
        *("--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
        *("--user", f"{os.getuid()}:{os.getgid()}"),
        *("--volume", f"{training.project}/results:/d2r/results"),
        *("--volume", f"{training.project}/config:/d2r/config:ro"),
    ]
    started = docker("run", "--detach", *where, IMAGE, "snakemake", *SNAKEMAKE)
    container = started.stdout.strip()
    assert started.returncode == 0, started.stderr
    try:
        running = ("inspect", "--format", "{{.State.Running}}", container)
        wait_for_checkpoint(training, 30, lambda: docker(*running).stdout.strip() != "true")
        assert docker("stop", "--time", "120", container).returncode == 0
        status = docker("inspect", "--format", "{{.State.ExitCode}}", container).stdout.strip()
        stopped_at = training.checkpointed()
        said = docker("logs", container)
    finally:
        docker("rm", "--force", container)
    assert status not in ("0", "137"), "137 is a kill, after the grace period: " + said.stdout + said.stderr
    assert f"stopped by signal 15 at step {stopped_at}, checkpoint written" in log(training)
    again = docker("run", "--rm", *where, IMAGE, "snakemake", *SNAKEMAKE)
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"resumed at step {stopped_at}" in log(training)
    counts["stops obeyed"] += 1
