"""The one exception that users see: a line that says what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input. The command line prints it as one line and exits with :attr:`status`."""

    status = 2


class RunFailure(UserError):
    """A run that could not go on through no fault of its input: a full disk, a dead worker, numbers that went wrong."""

    status = 1


class Unfit(UserError):
    """A saved state that is whole and of another run or version, so that another one may be gone on from."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a hint that names the valid spelling closest to ``name``, or lists all of them.

    Example:
        >>> nearest("mtsca", ["mtsac", "d2r"])
        "did you mean 'mtsac'?"
    """
    options = sorted(set(valid))
    near = closest(name, options)
    return "valid: " + ", ".join(options) if near is None else f"did you mean '{near}'?"


def closest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid spelling closest to ``name``, none if all are far from it."""
    close = difflib.get_close_matches(name, sorted(set(valid)), n=1, cutoff=0.6)
    return close[0] if close else None
