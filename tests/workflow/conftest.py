"""A small copy of the project in which Snakemake and DVC run with a stand-in for training and analysis."""

import os
import random
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2]

SCALE = """
id: smoke
description: Four runs that take no time.
protocol: d2r-official
seeds: [1, 2]
runs: [{benchmarks: [mt10-rand], methods: [d2r, mtsac]}]
budget:
  mt10: {steps: 800, warmup_steps: 400, replay_capacity: 800, evaluate_every: 400, checkpoint_every: 400}
"""
RUNS = [f"mt10-rand/{method}/seed{seed}" for method in ("d2r", "mtsac") for seed in (1, 2)]


@dataclass
class Project:
    """The copy, and how to work in it."""

    root: Path
    environment: dict[str, str]
    programs: Path
    """``bin`` of an environment like the one that runs the tests, but for its ``d2r``; first on the PATH."""
    stand_in = Path(__file__).with_name("stand_in.py")
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def call(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.root, env=self.environment | environment, text=True, timeout=300,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    @property
    def snakemake_program(self) -> tuple[str, ...]:
        return (str(self.programs / "python"), "-m", "snakemake")

    def snakemake(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.call(*self.snakemake_program, "--cores", "2", *arguments, **environment)

    def start_snakemake(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start Snakemake in a process group of its own."""
        child = subprocess.Popen(
            [*self.snakemake_program, "--cores", "2", *arguments],
            cwd=self.root, env=self.environment | environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.children.append(child)
        return child

    def starts(self) -> list[tuple[str, int]]:
        """Every start of a run so far: its name and the step it went on from."""
        log = self.root / "starts.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [(name, int(step)) for name, step in (line.split() for line in lines)]

    def forget_starts(self) -> None:
        (self.root / "starts.log").unlink(missing_ok=True)

    def wait_for_steps(self, count: int) -> None:
        """Wait until ``count`` runs have saved some state."""
        end = time.monotonic() + 120
        while len(list(self.root.glob("results/smoke/state/*/*/*/checkpoint-of-a-stand-in"))) < count:
            assert time.monotonic() < end, "no training state appeared"
            time.sleep(0.05)

    def shuffle_times(self) -> None:
        """Give every file and folder another time, as a checkout does."""
        now = time.time()
        for path in self.root.rglob("*"):
            when = now - random.Random(str(path)).uniform(0, 1e6)
            os.utime(path, (when, when), follow_symlinks=False)

    def stop(self) -> None:
        for child in self.children:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()


def make_environment(folder: Path) -> Path:
    """An environment with the packages of this one and the stand-in as its ``d2r``; returns its ``bin``."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    (programs / "python").symlink_to(base)
    own = sys.prefix == sys.base_prefix
    (folder / "pyvenv.cfg").write_text(
        f"home = {base.parent}\ninclude-system-site-packages = {str(own).lower()}\n"
    )
    (folder / "lib").symlink_to(Path(sys.prefix) / "lib")
    run = "import runpy\nrunpy.run_module({!r}, run_name='__main__', alter_sys=True)\n"
    scripts = {name: f"#!{programs / 'python'}\n{run.format(name)}" for name in ("snakemake", "dvc")}
    command = shlex.join([sys.executable, str(Project.stand_in)])
    for name, script in {**scripts, "d2r": f'#!/bin/sh\nexec {command} "$@"\n'}.items():
        program = programs / name
        program.write_text(script)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return programs


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    root = tmp_path / "project"
    root.mkdir()
    for name in ("Snakefile", "workflow", "profiles", "config", "dvc.yaml", ".dvcignore", ".gitignore"):
        source = SOURCE / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, root / name)
    (root / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(SOURCE / ".dvc" / name, root / ".dvc" / name)
    (root / "config" / "scales" / "smoke.yaml").write_text(SCALE)
    programs = make_environment(tmp_path / "environment")
    environment = {
        **os.environ,
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(SOURCE),
        "DVC_SITE_CACHE_DIR": str(tmp_path / "dvc"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "user.email", "GIT_CONFIG_VALUE_0": "test@example.invalid",
        "GIT_CONFIG_KEY_1": "user.name", "GIT_CONFIG_VALUE_1": "Test",
    }  # fmt: skip
    environment.pop("D2R_ROOT", None)
    project = Project(root, environment, programs)
    yield project
    project.stop()
