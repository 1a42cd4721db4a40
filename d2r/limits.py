"""Limits that a process was given (``ulimit``, a container, the machine): which of them an error comes from."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

from d2r.errors import UserError

HEADROOM = 256 * 2**20
"""Bytes of address space: with less left than this, importing PyTorch fails, with an error that may say anything."""
OUT_OF_MEMORY = (
    "can't allocate memory", "Cannot allocate memory", "not enough memory", "out of memory", "failed to map segment",
    "bad_alloc",
)  # fmt: skip


class Shortage(UserError):
    """A limit of this process was reached, which says nothing about what it was looking at."""


def refuse_shortage(error: BaseException) -> None:
    """Return if ``error`` does not come from a limit of this process.

    Raises:
        Shortage: naming the limit, if it does.
    """
    shortage = _shortage(error)
    if shortage is not None:
        raise Shortage(f"{shortage} ({' '.join(str(error).split()) or type(error).__name__})") from None


def _shortage(error: BaseException) -> str | None:
    code, text = getattr(error, "errno", None), str(error)
    if code in (errno.EMFILE, errno.ENFILE) or "Too many open files" in text:
        return "too many open files; raise their limit (`ulimit -n`)"
    if code == errno.EAGAIN or "can't start new thread" in text:
        return "too many processes; raise their limit (`ulimit -u`) or run less in parallel"
    if (
        isinstance(error, MemoryError)
        or code == errno.ENOMEM
        or any(words in text for words in OUT_OF_MEMORY)
        or _address_space_left() < HEADROOM
    ):
        return "not enough memory for this; choose smaller sizes, a smaller batch or less in parallel"
    return None


def _address_space_left() -> float:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return float("inf")
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return limit - pages * resource.getpagesize()
