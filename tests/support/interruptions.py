"""Ends of a run without warning, inside one process."""

from __future__ import annotations

import pytest

from d2r.training.loop import Cohort


class Interrupted(BaseException):
    """Stands for anything that ends a process without warning."""


def interrupt_at(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Let a run end without warning when it has taken so many steps, once for each."""
    take_step = Cohort.take_step

    def take_step_or_end(run: Cohort) -> None:
        take_step(run)
        if run.step in steps:
            steps.remove(run.step)
            raise Interrupted

    monkeypatch.setattr(Cohort, "take_step", take_step_or_end)
