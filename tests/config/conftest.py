"""A project whose configuration may be spoilt."""

from __future__ import annotations

from pathlib import Path

import pytest

from d2r.config import project_root


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of ``config/`` that may be spoilt."""
    for path in (project_root() / "config").rglob("*.yaml"):
        copy = tmp_path / "config" / path.relative_to(project_root() / "config")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.setenv("D2R_ROOT", str(tmp_path))
    return tmp_path
