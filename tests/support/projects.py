"""Work in another project folder than this one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from d2r.config import load_benchmark, load_method, load_protocol, load_scale


def forget_configuration() -> None:
    """Drop what was read of the configuration, which is kept by name and not by project."""
    for cached in (load_scale, load_protocol, load_method, load_benchmark):
        cached.cache_clear()


@contextlib.contextmanager
def working_in(project: Path) -> Iterator[pytest.MonkeyPatch]:
    """Make ``project`` the current one for a fixture that outlives a test; what it patches ends with it."""
    forget_configuration()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("D2R_ROOT", str(project))
        yield patch
    forget_configuration()
