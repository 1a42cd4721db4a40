"""A project of its own in a temporary folder, where a run takes seconds, and real training processes in it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

PROJECT = Path(__file__).resolve().parents[2]
BENCHMARK = "mt10-rand"
SCALE = """\
id: tiny
description: For tests of faults.
protocol: tiny
seeds: [1]
runs:
  - {benchmarks: [mt10-rand], methods: [mtsac]}
width: 0.05
network: {num_modules: 4}
sac: {batch_per_task: 4}
budget:
  mt10: {steps: 240, warmup_steps: 20, update_every: 2, replay_capacity: 100, evaluate_every: 60, checkpoint_every: 10,
         evaluation_episodes: 1}
"""
PATIENCE = 600.0
"""Seconds after which a process that does nothing is a failure."""


def make_project(folder: Path) -> Path:
    """Copy ``config/`` into ``folder`` and add the scale and the protocol ``tiny``."""
    shutil.copytree(PROJECT / "config", folder / "config")
    (folder / "config/scales/tiny.yaml").write_text(SCALE)
    official = (folder / "config/protocols/d2r-official.yaml").read_text()
    tiny = official.replace("id: d2r-official", "id: tiny").replace("horizon: 200", "horizon: 20")
    (folder / "config/protocols/tiny.yaml").write_text(tiny)
    growing = folder / "config/methods/d2r-growing.yaml"
    if growing.is_file():  # so that it does grow in so few evaluations
        growing.write_text(growing.read_text().replace("growth_patience: 5", "growth_patience: 1"))
    return folder


class Training:
    """``d2r train`` of one method in a project: a process that can be watched, signalled and killed."""

    def __init__(self, project: Path, method: str, seeds: str = "1"):
        self.project, self.method, self.seeds = project, method, seeds
        self.results = project / "results/tiny"
        self.published = self.results / "runs" / BENCHMARK / method / "seed1"
        self.state = self.results / "state" / BENCHMARK / method / "seed1"
        self.process: subprocess.Popen[str] | None = None

    def start(self, workers: int = 0) -> subprocess.Popen[str]:
        """Start the command in the background."""
        arguments = ["--scale", "tiny", "--benchmark", BENCHMARK, "--method", self.method]
        arguments += ["--seeds", self.seeds]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "d2r.cli.main", "train", *arguments, "--workers", str(workers)],
            cwd=self.project,
            env=environment(self.project),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self.process

    def finish(self, workers: int = 0) -> str:
        """Run the command to its end, which must be a good one; returns what it printed, errors included."""
        process = self.start(workers)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        return out + err

    def kill_when(self, moment: Callable[[], bool]) -> bool:
        """SIGKILL the process as soon as ``moment`` comes; False if it ended first.

        Its workers must be gone soon after.
        """
        process = self.process
        assert process is not None
        while not moment():
            if process.poll() is not None:
                return False
        workers = children(process.pid)
        process.send_signal(signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == -signal.SIGKILL, err
        wait_until(lambda: not any(alive(pid) for pid in workers))
        return True

    def checkpointed(self) -> int:
        """Step of the newest checkpoint, -1 if there is none."""
        return max(
            (int(path.stem.partition("-")[2]) for path in self.state.glob("*/checkpoint-*.json")), default=-1
        )

    def is_writing(self) -> bool:
        """Whether a checkpoint is being written at this moment."""
        return any(
            path.name.startswith((".state", ".replay", ".checkpoint")) for path in self.state.glob("*/.*")
        )

    def end_state(self, seed: int = 1) -> dict[str, Any]:
        """All that a finished run leaves, wall-clock times left out, and beside whom it was trained."""
        published, own_state = (folder.with_name(f"seed{seed}") for folder in (self.published, self.state))
        files = {path.name: path.read_bytes() for path in published.iterdir()}
        record = json.loads(files.pop("run.json"))
        del files["timing.csv"], record["outputs"]["timing.csv"]
        for name in ("started", "ended", "resumes", "earlier", "workers", "cohort", "sha256"):
            del record[name]
        (last,) = own_state.glob("*/state-*.pt")
        state = torch.load(last, weights_only=True)
        del state["tidy"]["timing.csv"]
        for name in ("started", "resumes", "earlier", "process"):
            del state[name]
        return {"files": files, "record": record, "state": state}


def environment(project: Path) -> dict[str, str]:
    """The environment of a command that works in ``project``."""
    return {**os.environ, "D2R_ROOT": str(project), "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}


def assert_equal(left: Any, right: Any, place: str = "") -> None:
    """Assert that two nested values are the same to the last bit."""
    assert type(left) is type(right), place
    if isinstance(left, dict):
        assert left.keys() == right.keys(), place
        for key in left:
            assert_equal(left[key], right[key], f"{place}/{key}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), place
        for index, (a, b) in enumerate(zip(left, right, strict=True)):
            assert_equal(a, b, f"{place}/{index}")
    elif isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype, place
        assert torch.equal(left, right), place
    else:
        assert left == right, place


def children(pid: int) -> list[int]:
    """Ids of a process's children."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that must happen."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
