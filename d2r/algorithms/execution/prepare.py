"""Whether this machine can execute updates as chosen, and what has to be set for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from d2r.config.execution import Execution
from d2r.errors import UserError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

RECOMPILE_LIMIT = 64
"""How often one function may be compiled anew: a growing network has another size after each module."""


MOST_THREADS = 256
"""More than any product here can use; far more would only fail to start."""


def check_threads(threads: int) -> None:
    """Refuse a number of threads that torch cannot run with.

    Raises:
        UserError: if it is not from 1 to :data:`MOST_THREADS`.
    """
    if not 1 <= threads <= MOST_THREADS:
        raise UserError(f"--threads {threads}: must be from 1 to {MOST_THREADS}")


MOST_SEEDS = 64
"""More than any device here has memory for at the paper's sizes."""


def check_cohort(seeds: int) -> None:
    """Refuse a number of seeds that cannot learn side by side.

    Raises:
        UserError: if it is not from 1 to :data:`MOST_SEEDS`.
    """
    if not 1 <= seeds <= MOST_SEEDS:
        raise UserError(f"{seeds} seeds side by side: must be from 1 to {MOST_SEEDS}")


def prepare(execution: Execution, device: str) -> None:
    """Check device and execution, and set what holds for the whole process.

    Args:
        device: ``cpu`` or ``cuda``.

    Raises:
        UserError: if this machine does not have it.
    """
    if device not in ("cpu", "cuda"):
        raise UserError(f"--device {device}: must be cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: this machine or this build of torch has no CUDA; use --device cpu")
    for option, wanted in (("--graph", execution.graph), ("--tf32", execution.tf32)):
        if wanted and device != "cuda":
            raise UserError(f"{option}: exists on CUDA only; give --device cuda or leave it out")
    if device == "cuda":
        torch.backends.cuda.matmul.fp32_precision = "tf32" if execution.tf32 else "ieee"
    if execution.compile:
        _try_compiler(device)


def _try_compiler(device: str) -> None:
    """Compile something small: whether a compiler and all that it needs are there shows in no other way."""
    try:
        compiled(torch.square)(torch.ones(2, device=device))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"--compile: torch.compile does not work here ({reason}); "
            "install a C++ compiler such as g++, or leave it out"
        ) from None


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """``function``, compiled for the sizes that it is called with."""
    # PyTorch's own annotations of compile lack this argument
    made: Callable[Arguments, Result] = torch.compile(  # type: ignore[call-overload]
        function, dynamic=False, recompile_limit=RECOMPILE_LIMIT
    )
    return made
