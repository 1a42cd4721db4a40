"""Where the project lies, which holds ``config/`` and ``results/``; and the configuration where there is none."""

from __future__ import annotations

import os
from pathlib import Path

from d2r.errors import UserError

SHIPPED = Path(__file__).resolve().parent / "shipped"
"""What ``config/`` held when a wheel was built; a checkout has none."""


def project_root() -> Path:
    """Return the folder in which ``results/`` are written and ``config/`` is read.

    ``D2R_ROOT`` wins; otherwise the nearest folder at or above the working directory that holds
    ``config/methods``; otherwise the checkout that this package was installed from in editable mode. A package
    that was installed from a wheel works where it is started.

    Raises:
        UserError: if no such folder exists.
    """
    override = os.environ.get("D2R_ROOT")
    if override:
        root = Path(override).resolve()
        if not is_project(root):
            raise UserError(
                f"D2R_ROOT={override}: no folder config/methods there; point it at the project's root"
            )
        return root
    here = Path.cwd().resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if is_project(folder):
            return folder
    if SHIPPED.is_dir():
        return here
    raise UserError(
        f"{here}: not inside the project (no config/methods here or above); cd into it or set D2R_ROOT"
    )


def is_project(folder: Path) -> bool:
    """Whether a folder has a configuration of its own."""
    return (folder / "config" / "methods").is_dir()


def config_root() -> Path:
    """Return the folder of the configuration: the project's ``config/``, or the one that came with a wheel.

    Raises:
        UserError: as :func:`project_root`.
    """
    root = project_root()
    return root / "config" if is_project(root) else SHIPPED
