"""Where the project lies: the folder that holds ``config/`` and ``results/``."""

from __future__ import annotations

import os
from pathlib import Path

from d2r.errors import UserError


def project_root() -> Path:
    """Return the project's root folder.

    ``D2R_ROOT`` wins; otherwise the nearest folder at or above the working directory that holds
    ``config/methods``; otherwise the checkout that this package was installed from in editable mode.

    Raises:
        UserError: if no such folder exists.
    """
    override = os.environ.get("D2R_ROOT")
    if override:
        root = Path(override).resolve()
        if not (root / "config" / "methods").is_dir():
            raise UserError(
                f"D2R_ROOT={override}: no folder config/methods there; point it at the project's root"
            )
        return root
    here = Path.cwd().resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "config" / "methods").is_dir():
            return folder
    raise UserError(
        f"{here}: not inside the project (no config/methods here or above); cd into it or set D2R_ROOT"
    )
