"""Tensors in files: read without running code, and compared by name, shape and type."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from d2r.files import read_bytes
from d2r.limits import refuse_shortage

UNREADABLE = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    TypeError, ValueError, pickle.UnpicklingError, struct.error,
)  # fmt: skip
"""What torch raises on content that is not its own. Nothing of ours runs meanwhile, so no fault of ours hides in it."""


def read_tensors(path: Path) -> dict[str, Tensor] | None:
    """Return the tensors of a safetensors file, none if it is none.

    Raises:
        UserError: if there is not enough memory for them.
    """
    try:
        return safetensors.torch.load(read_bytes(path))
    except (safetensors.SafetensorError, *UNREADABLE) as error:  # of types that torch does not have, too
        refuse_shortage(error)
        return None


def read_label(path: Path) -> dict[str, str]:
    """Return what a safetensors file says beside its tensors; nothing if it says nothing, or is none."""
    try:
        content = read_bytes(path)
        stated = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
        return {str(key): str(value) for key, value in stated.items()}
    except UNREADABLE as error:
        refuse_shortage(error)
        return {}


def digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names, shapes, types and numbers of tensors, whatever their order."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def read_state(path: Path) -> Any:
    """Return what ``torch.save`` wrote, of tensors, numbers, strings and containers alone; none if it is not such.

    Raises:
        UserError: if there is not enough memory for it.
    """
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except UNREADABLE as error:
        refuse_shortage(error)
        return None


def forms(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and type of each tensor."""
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
