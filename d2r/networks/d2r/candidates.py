"""Who may read whom: module, layer and model level are one routed network under three masks of candidates.

Modules and the output are *readers*: reader g = 0..N-2 is module g+1 (counted from 0), reader N-1 is the output.

The paper compares the three levels. Numbers of logits are those of the official code (``train.py``: ``depthroute``,
``layerroute``, ``modelroute``). It does not contain the networks of the last two: there, who reads whom is our reading.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Candidates(NamedTuple):
    """The sources among which each reader may choose.

    Attributes:
        mask: [N, N] boolean, [reader, module]; a reader that reads the encoded state has the pseudo source 0.
        routed: [N] boolean, the readers with a logit for each candidate; the others have one candidate, and no choice.
        entry: [N] boolean, the readers that read the encoded state: their pseudo source has weight 0.
    """

    mask: Tensor
    routed: Tensor
    entry: Tensor


def at_module_level(modules: int) -> Candidates:
    """D2R: a reader may read every module before it. N(N+1)/2 logits, in groups of 1, 2, ..., N."""
    module = torch.arange(modules)
    return Candidates(module <= module.unsqueeze(1), module >= 0, module < 0)


def at_layer_level(modules: int, layers: int) -> Candidates:
    """L layers of e = N/L modules: a reader may read the layer before its own, so that no layer can be skipped.

    Modules are numbered layer by layer; e ((L-1) e + 1) logits.
    """
    module, size = torch.arange(modules), modules // layers
    layer_of_reader = (module + 1) // size
    mask = module // size == layer_of_reader.unsqueeze(1) - 1
    return _with_entries(mask, layer_of_reader > 0)


def at_model_level(modules: int, models: int) -> Candidates:
    """M chains of N/M modules: a module reads the one before it, and the output may read the end of every chain.

    Modules are numbered chain by chain; M logits.
    """
    module, depth = torch.arange(modules), modules // models
    reader = module.unsqueeze(1) + 1
    in_chain = (module == reader - 1) & (reader % depth != 0)
    of_output = (reader == modules) & (module % depth == depth - 1)
    return _with_entries(in_chain | of_output, module == modules - 1)


def _with_entries(mask: Tensor, routed: Tensor) -> Candidates:
    entry = ~mask.any(1)
    pseudo_source = torch.arange(len(mask)) == 0
    return Candidates(mask | (entry.unsqueeze(1) & pseudo_source), routed, entry)
