"""Collected tables that a test changes."""

import bz2
from pathlib import Path

from d2r.files import is_packed


def write_packed(path: Path, content: bytes) -> None:
    """Write a table, packed if the file's name says so."""
    path.write_bytes(bz2.compress(content) if is_packed(path) else content)
