"""The compiled library, if this source was built for this processor, and whether it serves a call.

It is built by ``make .venv`` and with the image (``build.py``). Where it is not there, and where ``D2R_KERNEL=off``
says so, PyTorch's operators compute the same numbers to rounding; ``run.json`` states which did (``kernel``). Which of
its versions serves follows PyTorch's own choice for this processor, so the two change together.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from d2r.errors import UserError
from d2r.kernel.build import BUILT, PROCESSORS, is_whole, library

SWITCH = "D2R_KERNEL"
BUILDER = Path(__file__).with_name("build.py")
NAMES = {torch.float32: "f32", torch.float64: "f64"}

SIZE, POINTER, NUMBER = ctypes.c_long, ctypes.c_void_p, ctypes.c_double
ARGUMENTS = {
    "chain_kept": [POINTER],
    "chain": [POINTER] * 7 + [ctypes.c_int],
    "chain_backward": [POINTER] * 11 + [ctypes.c_int],
    "decide": [POINTER] * 8 + [ctypes.c_int],
    "decide_backward": [POINTER] * 5,
    "width": [SIZE],
    "whole_room": [POINTER, ctypes.c_int],
    "whole": [POINTER] * 8 + [ctypes.c_int] + [POINTER] * 5 + [ctypes.c_int],
    "whole_backward": [POINTER] * 10 + [ctypes.c_int],
    "stack": [POINTER] * 8 + [ctypes.c_int],
    "stack_backward": [POINTER] * 13 + [ctypes.c_int],
    "sample": [POINTER] * 6,
    "sample_backward": [POINTER] * 8,
    "transitions": [POINTER] * 5,
    "clip": [POINTER, POINTER, NUMBER, NUMBER, POINTER, ctypes.c_int],
    "adam": [POINTER] * 8 + [ctypes.c_int],
    "follow": [POINTER, POINTER, POINTER, NUMBER, ctypes.c_int],
}
"""Of each function in ``kernel.cpp``, whose names begin with ``d2r_`` and end with the type."""

COUNTS = ("chain_kept", "width", "whole_room", "clip")
"""Those that return a number."""

Function = Callable[..., int]


@cache
def functions(dtype: torch.dtype) -> dict[str, Function] | None:
    """The library's functions for a type; none where it is not built, switched off, or has no such type.

    Raises:
        UserError: if ``D2R_KERNEL`` is neither ``on`` nor ``off``, or the library cannot be loaded.
    """
    wanted = os.environ.get(SWITCH, "on")
    if wanted not in ("on", "off"):
        raise UserError(f"{SWITCH}={wanted}: must be on or off")
    capability = torch.backends.cpu.get_cpu_capability()
    if wanted == "off" or dtype not in NAMES:
        return None
    path = BUILT
    try:
        path = library(capability if capability in PROCESSORS else "DEFAULT")
        return load(path, dtype) if path.is_file() else None
    except (OSError, AttributeError) as error:
        raise UserError(
            f"{path}: cannot be loaded ({error}); build it again with python {BUILDER}, or set {SWITCH}=off"
        ) from None


def load(path: Path, dtype: torch.dtype) -> dict[str, Function]:
    """The functions of a library for a type.

    Raises:
        OSError: if it cannot be loaded, or is not as it was built.
        AttributeError: if it lacks a function.
    """
    if not is_whole(path.read_bytes()):  # half a library can kill the process that loads it
        raise OSError("it is damaged")
    loaded, found = ctypes.CDLL(str(path)), {}
    for name, arguments in ARGUMENTS.items():
        function = getattr(loaded, f"d2r_{name}_{NAMES[dtype]}")
        function.argtypes, function.restype = arguments, SIZE if name in COUNTS else None
        found[name] = function
    return found


def implementation(device: str = "cpu") -> str:
    """Which implementation computes networks in float32 on a device: ``compiled`` or ``plain``."""
    return "compiled" if device == "cpu" and functions(torch.float32) is not None else "plain"


def serving(*tensors: Tensor) -> dict[str, Function] | None:
    """The functions that compute with these tensors, or none where PyTorch's operators have to.

    They have to on other devices and for other types, and wherever someone looks at the operators: a compiler,
    autocast, a recording or a count of them.
    """
    if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
        return None
    dtype = tensors[0].dtype
    for t in tensors:
        if t.dtype != dtype or not t.is_cpu:
            return None
    found = functions(dtype)
    return None if torch._C._len_torch_dispatch_stack() > 0 else found  # noqa: SLF001 -- no public name
