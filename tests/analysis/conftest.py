"""Synthetic results shared by the analysis tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from d2r.findings.collect import collect

from .synthetic import Plan, write_project, write_runs


@pytest.fixture
def make_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Plan], Path]:
    """Write a plan's project and runs, collect them, and return the results folder."""

    def make(plan: Plan) -> Path:
        results = write_project(tmp_path, plan)
        monkeypatch.setenv("D2R_ROOT", str(tmp_path))
        write_runs(results, plan)
        collect(results)
        return results

    return make
