"""A stranger's folder is looked at from within, and none of the Python in it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.targets import World, make_world
from tests.support.tiny import PROJECT

D2R = Path(sys.executable).with_name("d2r")
MODULES = (
    "d2r",
    "json",
    "multiprocessing",
    "numpy",
    "pandas",
    "pickle",
    "random",
    "select",
    "signal",
    "torch",
    "yaml",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A finished, released run in a project of its own."""
    with make_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def harm(tmp_path: Path) -> Path:
    """What a stranger's module would write."""
    return tmp_path / "harm"


def lay_modules(folder: Path, harm: Path) -> None:
    for name in MODULES:
        (folder / f"{name}.py").write_text(f"open({str(harm)!r}, 'w').close()\nraise SystemExit('harm')\n")


def call(folder: Path, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    path = f"{D2R.parent}:{os.environ['PATH']}"
    return subprocess.run(
        [str(D2R), *arguments],
        cwd=folder,
        env={**environment, "D2R_ROOT": str(project), "OMP_NUM_THREADS": "1", "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


TRAIN = ("--scale", "tiny", "--benchmark", "mt10-rand", "--method", "mtsac", "--seed", "1", "--steps", "30")


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", ".", "--workers", "2"),
        ("verify", "env", "--benchmark", "mt10-rand", "--protocol", "tiny", "--steps", "2", "--workers", "2"),
        ("train", *TRAIN, "--workers", "2", "--results", "trained"),
        ("bench", "env", "--benchmark", "mt10-rand", "--workers", "2", "--rounds", "1"),
        ("collect", "--results", "../../../.."),
        ("figures", "--results", "../../../.."),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_no_process_takes_modules_from_the_current_folder(
    command: tuple[str, ...], world: World, harm: Path, tmp_path: Path
) -> None:
    results = Path(shutil.copytree(world.results, tmp_path / "tiny", ignore=shutil.ignore_patterns("state")))
    folder = world.key.folder(results)
    if command[0] == "figures":
        assert call(tmp_path, world.project, "collect", "--results", str(results)).returncode == 0
    lay_modules(folder, harm)
    done = call(folder, world.project, *command)
    assert done.returncode == 0, done.stdout
    assert not harm.exists()


def test_nor_does_what_a_process_starts_on_its_own(harm: Path, tmp_path: Path) -> None:
    """Such as multiprocessing, whose helpers are started with ``python -c``; DVC and Snakemake start Python, too."""
    lay_modules(tmp_path, harm)
    program = (
        "import subprocess, sys\n"
        "from d2r.cli.main import main\n"
        "main(['--version'])\n"
        "sys.exit(subprocess.call([sys.executable, '-c', 'import json']))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    for safely in (["-P"], []):
        command = [sys.executable, *safely, "-c", program]
        done = subprocess.run(command, cwd=tmp_path, env={**environment, "PYTHONPATH": str(PROJECT)})
        if safely:
            assert done.returncode == 0
            assert not harm.exists()
    assert harm.exists(), "the modules do harm where nothing keeps them from it"
