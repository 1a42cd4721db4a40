"""All randomness of a run comes from its seed: one ``SeedSequence``, with a child for each consumer."""

from __future__ import annotations

import hashlib
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

GPU_STATE = (16,)
"""Bytes of a generator's state on a GPU: its seed, and how far it has come."""


class Stream(IntEnum):
    """Consumers of randomness. Numbers are part of what a seed means: never reuse or reorder them."""

    ENVIRONMENT = 0
    INITIALISATION = 1
    ACTING = 2
    LEARNING = 3
    INSTRUMENTS = 4


def seed_sequence(seed: int, stream: Stream) -> np.random.SeedSequence:
    """Return the child of the run's sequence that belongs to ``stream``."""
    return np.random.SeedSequence(seed, spawn_key=(int(stream),))


def torch_generator(seed: int, stream: Stream) -> torch.Generator:
    """Return a CPU generator seeded from the stream's sequence."""
    state = seed_sequence(seed, stream).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state & np.uint64(2**63 - 1)))


def generator_for(seed: int, stream: Stream, device: str) -> torch.Generator:
    """Return a generator on the device that learns: on the CPU that of :func:`torch_generator`."""
    on_cpu = torch_generator(seed, stream)
    if device == "cpu":
        return on_cpu
    return torch.Generator(device).manual_seed(on_cpu.initial_seed())


def restore_generator(generator: torch.Generator, state: Tensor) -> None:
    """Go on from a state; from that of another kind of device with other numbers, which follow from it."""
    if state.shape == generator.get_state().shape:
        generator.set_state(state)
        return
    digest = hashlib.sha256(state.numpy().tobytes()).digest()
    generator.manual_seed(int.from_bytes(digest[:7], "big"))


def is_generator_state(state: Tensor) -> bool:
    """Whether a tensor is what a generator of a CPU or a GPU says of itself."""
    if state.dtype == torch.uint8 and state.shape == GPU_STATE:
        return True
    try:
        torch.Generator().set_state(state)
    except (RuntimeError, TypeError):  # of another size or type, or with a position that there is not
        return False
    return True
