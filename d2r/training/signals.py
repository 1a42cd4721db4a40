"""Stopping politely: the first SIGTERM, SIGINT or SIGHUP is noted, a later second one ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

ECHO_SECONDS = 1.0
"""A signal this soon after the first is its echo: when Snakemake is killed, each of its threads announces the death."""


class StopRequest:
    """Within ``with StopRequest() as stop``, ``stop.signal`` is the signal that asked to stop, or none."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._asked = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            noted = [signal.SIGTERM, signal.SIGINT]
            if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup leaves it
                noted.append(signal.SIGHUP)
            for number in noted:
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_status(self) -> int:
        """128 plus the signal, as shells report it: 143 for SIGTERM, 130 for SIGINT, 129 for SIGHUP."""
        return 128 + (self.signal or 0)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.signal is None:
            self.signal, self._asked = number, time.monotonic()
        elif time.monotonic() - self._asked > ECHO_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
