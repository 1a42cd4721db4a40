"""Tensors in files: read without running code, and compared by name, shape and type."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

UNREADABLE = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    TypeError, ValueError, pickle.UnpicklingError, struct.error,
)  # fmt: skip
"""What ``torch.load`` raises on content that is not its own; nothing of ours runs in it."""


def read_tensors(content: bytes) -> dict[str, Tensor] | None:
    """Return the tensors of a safetensors file, none if it is none."""
    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, *UNREADABLE):  # of types that torch does not have, too
        return None


def read_state(content: bytes) -> Any:
    """Return what ``torch.save`` wrote, of tensors, numbers, strings and containers alone; none if it is not such."""
    try:
        return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except UNREADABLE:
        return None


def forms(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and type of each tensor."""
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
