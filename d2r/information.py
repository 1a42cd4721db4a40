"""Mutual information of what a route reads with what it was chosen for, in bits."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SHUFFLES = 20
"""Random orders over which the information that chance alone gives is averaged."""


def conditional_information(weights: Floats) -> float:
    """I(source; condition | reader) = H(source | reader) - H(source | reader, condition), in bits.

    Cover and Thomas, Elements of Information Theory, 2nd edition, 2006, equation 2.60, by plug-in: shares of the
    weights stand for probabilities. With few samples of each condition it is too high.

    Args:
        weights: [reader, condition, source], not negative: how often, or with which weight, it was read.

    Returns:
        From 0, where all conditions read alike, to the entropy of the condition, where no two share a source.
    """
    total = weights.sum()
    if total == 0:
        return 0.0
    joint = weights / total
    together = joint * joint.sum((1, 2), keepdims=True)
    apart = joint.sum(1, keepdims=True) * joint.sum(2, keepdims=True)
    seen = joint > 0
    return max(0.0, float((joint[seen] * np.log2(together[seen] / apart[seen])).sum()))


def plug_in_bias(counts: Floats) -> float:
    """By how much :func:`conditional_information` is too high, in bits, if its counts are of independent draws.

    Miller, Note on the bias of information estimates, 1955: (sources - 1)(conditions - 1) / (2 n ln 2) for each
    reader, here weighted by its share of the counts.

    Args:
        counts: [reader, condition, source].
    """
    total = counts.sum()
    if total == 0:
        return 0.0
    sources, conditions = (counts.sum(1) > 0).sum(1), (counts.sum(2) > 0).sum(1)
    read = sources > 0
    return float(((sources - 1) * (conditions - 1))[read].sum() / (2 * total * math.log(2)))


def information_above_chance(
    weights: Floats, labels: npt.NDArray[np.int64], generator: np.random.Generator
) -> float:
    """I(source; label | reader) in bits, minus its mean when labels are dealt out at random; may be negative.

    Args:
        weights: [reader, item, source].
        labels: [item], from 0, each of them on some item.
        generator: deals labels.
    """
    is_label = labels == np.arange(labels.max() + 1)[:, None]

    def of(belongs: npt.NDArray[np.bool_]) -> float:
        return conditional_information(np.matmul(belongs.astype(float), weights))

    by_chance = [of(generator.permutation(is_label, axis=1)) for _ in range(SHUFFLES)]
    return of(is_label) - float(np.mean(by_chance))
