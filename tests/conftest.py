"""What every test needs."""

from __future__ import annotations

import os
from collections.abc import Iterator

os.environ.pop("MPLBACKEND", None)  # before anything is imported that would read it
os.environ["MUJOCO_GL"] = "disable"

import pytest
from hypothesis import settings

from tests.support.projects import forget_configuration

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
