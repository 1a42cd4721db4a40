"""What a process loads before it does its work: nobody waits for what is not used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from d2r.cli.main import COMMANDS

HEAVY = {"torch", "pandas", "matplotlib", "metaworld", "mujoco", "gymnasium", "scipy"}
NO_USE_IN_TRAINING = {"torch._dynamo", "sympy", "scipy.stats", "pandas", "matplotlib"}

SCRIPT = """
import sys
from d2r.cli.main import main
for line in sys.stdin.read().splitlines():
    try:
        main(line.split())
    except SystemExit:
        pass
print("loaded:", *sys.modules)
"""


def loaded_by(*lines: str) -> set[str]:
    """Modules that a process has loaded after these command lines."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    return set(done.stdout.rpartition("loaded:")[2].split())


@pytest.mark.parametrize("option", ["--help", "--unknown"])
def test_help_and_wrong_arguments_load_no_library(option: str) -> None:
    commands = ["", *COMMANDS, *(f"bench {kind}" for kind in ("env", "learner", "train", "replay", "depth"))]
    commands += [f"verify {check}" for check in ("golden", "env", "artifact")]
    loaded = loaded_by(*(f"{command} {option}" for command in commands))
    assert set(COMMANDS.values()) <= loaded
    assert not loaded & HEAVY


def test_training_loads_neither_a_compiler_nor_what_draws(tmp_path: Path) -> None:
    run = f"train --benchmark mt10-rand --method d2r --seed 1 --steps 208 --results {tmp_path}"
    loaded = loaded_by(run)
    assert {"torch", "mujoco"} <= loaded
    assert (tmp_path / "runs" / "mt10-rand" / "d2r" / "seed1" / "run.json").is_file()
    assert not loaded & NO_USE_IN_TRAINING
