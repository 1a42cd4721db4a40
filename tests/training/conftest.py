"""A small project, and a run in it that stops where a test wants."""

from __future__ import annotations

from pathlib import Path

import pytest

from d2r.config import RunConfig, load_scale, resolve_run
from tests.support.tiny import BENCHMARK, make_project


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with the scale ``tiny``, which all commands of the test work in."""
    folder = make_project(tmp_path / "project")
    monkeypatch.setenv("D2R_ROOT", str(folder))
    return folder


@pytest.fixture
def config(project: Path) -> RunConfig:
    """A run that takes a second: 60 steps, a checkpoint every 10."""
    return resolve_run(load_scale("tiny"), BENCHMARK, "mtsac", 1, {"steps": 60, "evaluate_every": 30})
