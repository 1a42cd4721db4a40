"""DVC as the keeper of the released policies: record them, and store them in the remote."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from d2r.errors import UserError
from d2r.planning.workflow import path_with_own_commands

TRAIN_PIPELINE = "workflow/train/dvc.yaml"


def store_policies(root: Path, scale: str) -> None:
    """Record a scale's runs in the frozen stage ``train`` and push its policies to the default remote.

    Args:
        root: the project's root.
        scale: a released scale.

    Raises:
        UserError: if DVC is not installed or fails.
    """
    stage = f"{TRAIN_PIPELINE}:train@{scale}"
    _dvc(root, "commit", "--force", stage)
    _dvc(root, "push", stage)


def _dvc(root: Path, *arguments: str) -> None:
    program = shutil.which("dvc", path=path_with_own_commands())
    if program is None:
        raise UserError(
            "dvc: no such command; install the project's environment (make .venv) and use its PATH"
        )
    done = subprocess.run([program, *arguments], cwd=root, check=False, capture_output=True, text=True)
    if done.returncode:
        cause = _cause(done.stderr + done.stdout)
        raise UserError(f"dvc {' '.join(arguments)}: {cause}; mend this and give the same command again")


def _cause(said: str) -> str:
    """What DVC says went wrong; ``--quiet`` would keep it from saying so."""
    lines = [line for line in said.splitlines() if line.strip() and "dvc.org/support" not in line]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return errors[0] if errors else " ".join(lines) or "no message"
