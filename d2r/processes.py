"""What holds for every process that is started from here."""

from __future__ import annotations

import os


def ignore_current_folder() -> None:
    """Let no Python that is started from now on take modules from the folder that it is started in.

    It may be a stranger's run, and hold a ``numpy.py``.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
