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
    _dvc(root, "commit", "--quiet", "--force", stage)
    _dvc(root, "push", "--quiet", stage)


def _dvc(root: Path, *arguments: str) -> None:
    program = shutil.which("dvc", path=path_with_own_commands())
    if program is None:
        raise UserError(
            "dvc: no such command; install the project's environment (make .venv) and use its PATH"
        )
    done = subprocess.run([program, *arguments], cwd=root, check=False, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = next(
            (line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "no message"
        )
        raise UserError(f"dvc {' '.join(arguments)}: {reason.removeprefix('ERROR: ')}; try again")
