"""The files of ``config/``: one for each method, protocol, scale and benchmark, named like its id."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from d2r.config.paths import config_root
from d2r.config.reader import read_yaml
from d2r.errors import UserError, nearest
from d2r.files import is_visible_file

NAME = "[a-z0-9-]+"
"""What these may be called: folders are named by it, and Snakemake's rules look for it."""


def config_folder(kind: str) -> Path:
    """Return ``config/<kind>`` (``methods``, ``protocols``, ``scales`` or ``benchmarks``)."""
    return config_root() / kind


def ids_of(kind: str) -> tuple[str, ...]:
    """Names of the files of ``config/<kind>``, hidden ones left out.

    Raises:
        UserError: if one has a name that no folder or rule could have.
    """
    paths = sorted(filter(is_visible_file, config_folder(kind).glob("*.yaml")))
    for path in paths:
        if not re.fullmatch(NAME, path.stem):
            raise UserError(
                f"{path}: a name is made of lower-case letters, digits and hyphens; rename the file"
            )
    return tuple(path.stem for path in paths)


def read_named(kind: str, name: str, named_in: Path | None = None) -> tuple[Path, dict[str, Any]]:
    """Read ``config/<kind>/<name>.yaml``; returns where it lies and what it holds.

    Args:
        named_in: file that names it, for the message.

    Raises:
        UserError: if there is no such file, or it states another id.
    """
    known = ids_of(kind)
    if name not in known:
        where = f"{named_in}: " if named_in else ""
        raise UserError(f"{where}unknown {kind[:-1]} '{name}'; {nearest(name, known)}")
    path = config_folder(kind) / f"{name}.yaml"
    data = read_yaml(path)
    if data.get("id") != name:
        raise UserError(f"{path}: 'id' must be the file's name, '{name}', not {data.get('id')!r}")
    return path, data
