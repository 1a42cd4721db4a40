"""The released runs with their policies, which a checkout has only after ``dvc pull``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.tiny import PROJECT


def pull_released(folder: Path) -> Path:
    """Make a project in ``folder`` that has the released runs and gets their policies from the remote in git."""
    for name in ("config", "docs", "workflow/train"):
        shutil.copytree(PROJECT / name, folder / name)
    there, here = PROJECT / "results/released", folder / "results/released"
    shutil.copytree(there, here, ignore=shutil.ignore_patterns("policies", "remote"))
    (here / "remote").symlink_to(there / "remote")
    (folder / ".dvc").mkdir()
    settings = (PROJECT / ".dvc/config").read_text().replace("[core]\n", "[core]\n    no_scm = true\n")
    (folder / ".dvc/config").write_text(settings)
    environment = os.environ | {"DVC_SITE_CACHE_DIR": str(folder / ".dvc/site")}
    done = subprocess.run(
        [Path(sys.executable).parent / "dvc", "pull", "--quiet"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder
