"""D2R: multi-task reinforcement learning on Meta-World with dynamic depth routing (arXiv 2312.14472)."""

__version__ = "0.1.0"
