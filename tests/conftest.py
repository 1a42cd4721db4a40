"""What every test needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.pop("MPLBACKEND", None)  # before anything is imported that would read it
os.environ["MUJOCO_GL"] = "disable"

import pytest
from hypothesis import settings

from tests.support.projects import forget_configuration
from tests.support.synthetic import Plan, write_project, write_runs

# an example of hypothesis must not fail because the machine is busy
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked ``cuda`` where there is none."""
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU with CUDA")


@pytest.fixture(autouse=True)
def fresh_configuration() -> Iterator[None]:
    """Let no test see the configuration of another one's project, in whatever order they run."""
    forget_configuration()
    yield
    forget_configuration()


@pytest.fixture
def make_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Plan], Path]:
    """Write a plan's project and runs, collect them, and return the results folder."""

    def make(plan: Plan) -> Path:
        from d2r.findings.collect import collect

        results = write_project(tmp_path, plan)
        monkeypatch.setenv("D2R_ROOT", str(tmp_path))
        write_runs(results, plan)
        collect(results)
        return results

    return make
