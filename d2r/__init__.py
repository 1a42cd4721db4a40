"""D2R: multi-task reinforcement learning on Meta-World with dynamic depth routing (arXiv 2312.14472)."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from d2r.findings.collect import read_runs
    from d2r.play.policy import load_policy

__version__ = "0.1.0"
__all__ = ["load_policy", "read_runs"]

_HOME = {"load_policy": "d2r.play.policy", "read_runs": "d2r.findings.collect"}


def __getattr__(name: str) -> object:
    """Import what is asked for only then: PyTorch and pandas take a second that few commands need."""
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
