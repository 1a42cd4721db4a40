"""Who may read whom: module, layer and model level are one routed network with three sets of candidates.

Modules and the output are *readers*: reader g = 0..N-2 is module g+1 (counted from 0), reader N-1 is the output.

The paper compares the three levels. Numbers of logits are those of the official code (``train.py``: ``depthroute``,
``layerroute``, ``modelroute``). It does not contain the networks of the last two: there, who reads whom is our reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Reader(NamedTuple):
    """What a module or the output may read.

    Attributes:
        candidates: numbers of the modules, in ascending order.
        routed: whether the router has a logit for each of them; if not, there is one candidate and no choice.
        weighted: whether what is read has a weight. It has none where a module reads the encoded state instead, whose
            candidate is a pseudo source.
    """

    candidates: Sequence[int]
    routed: bool = True
    weighted: bool = True


Readers = Sequence[Reader]
ENCODED_STATE = Reader((0,), routed=False, weighted=False)


def at_module_level(modules: int) -> Readers:
    """D2R: a reader may read every module before it. N(N+1)/2 logits, in groups of 1, 2, ..., N."""
    return [Reader(range(reader + 1)) for reader in range(modules)]


def at_layer_level(modules: int, layers: int) -> Readers:
    """L layers of e = N/L modules: a reader may read the layer before its own, so that no layer can be skipped.

    Modules are numbered layer by layer; e ((L-1) e + 1) logits.
    """
    size = modules // layers
    layer_of_reader = [module // size for module in range(1, modules + 1)]
    return [
        Reader(range((layer - 1) * size, layer * size)) if layer else ENCODED_STATE
        for layer in layer_of_reader
    ]


def at_model_level(modules: int, models: int) -> Readers:
    """M chains of N/M modules: a module reads the one before it, and the output may read the end of every chain.

    Modules are numbered chain by chain; M logits.
    """
    depth = modules // models
    of_modules = [
        Reader((module - 1,), routed=False) if module % depth else ENCODED_STATE
        for module in range(1, modules)
    ]
    return [*of_modules, Reader(range(depth - 1, modules, depth))]
