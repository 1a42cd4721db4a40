"""What make is told wrongly costs nothing: one line, before anything is touched."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from d2r.config import project_root


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((".venv", "TORCH=rocm"), "TORCH=rocm: must be cpu or cuda"),
        (("wheelhouse", "TORCH=rocm", "TRAIN_ONLY=1"), "TORCH=rocm: must be cpu or cuda"),
        (("wheelhouse", "TRAIN_ONLY=0"), "TRAIN_ONLY=0: must be 1, or left out"),
        (("wheelhouse", "PYTHONS=3.12 2.7"), "PYTHONS=3.12 2.7: must be of 3.11, 3.12 and 3.13"),
        ((".venv", "WHEELS=nowhere"), "WHEELS=nowhere: no such folder"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_touched(
    arguments: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    for name in ("Makefile", "requirements-cpu.lock"):
        shutil.copy(project_root() / name, tmp_path)
    shutil.copytree(project_root() / "requirements", tmp_path / "requirements")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "precious").touch()
    done = subprocess.run(["make", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / ".venv" / "precious").exists()
    assert not (tmp_path / "build").exists()
