"""All randomness of a run comes from its seed: one ``SeedSequence``, with a child for each consumer."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


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
