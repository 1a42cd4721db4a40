"""MOORE (Hendawy et al., ICLR 2024, arXiv 2311.11385): a mixture of experts made orthonormal for every sample.

    V(s) = [expert_1(s), ..., expert_k(s)]       U(s) = Gram-Schmidt(V(s))
    output_task = head_task(tanh(w_task U(s)))

Configuration (AhmedMagdyHendawy/MOORE, ``run/metaworld``): k = 4 experts on MT10 and 6 on MT50, each
400-400-400 with a linear last layer; w one bias-free linear map of the one-hot task, Xavier; one linear
head a task.

Gram-Schmidt is computed as Q = L^-1 V with L the Cholesky factor of the Gram matrix V V^T: the same
vectors, signs included, for all samples at once and without a loop over experts. Only the combination w Q
is needed, so L^-T w is solved for (k numbers a sample) and the orthonormal vectors are never stored.
Orthogonality is lost with the square of V's condition number, so V's rows are first scaled to unit length
and the k x k algebra is in float64. ``SHIFT`` on the diagonal keeps values and gradients finite where
experts are linearly dependent (official code: division by zero): an expert's direction then fades to zero
instead. Independent experts, at an angle above 0.001 rad to the span of the others, are orthonormal to
1e-6.

Deviations:

1. The authors' experts end up with PyTorch's default initial values (their Xavier values are overwritten),
   and so do these: identical biases, as in the official D2R code, would make the experts nearly parallel at
   first. Heads start as in the official D2R code.
2. The bounds on the log standard deviation are those of the common SAC, [-20, 2], not [-10, 2].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from d2r.config.networks import MooreConfig
from d2r.networks.base import DETERMINISTIC, Network, Output, RouteRule
from d2r.networks.blocks import TaskHeads, as_rows, group_chain, mix, relu_between
from d2r.networks.layers import uniform

SHIFT = 1e-12


class MooreNetwork(Network):
    """E copies of k orthonormal experts with a head for each task.

    Attributes:
        composition: [E, task, k], weights w of the orthonormal experts.
    """

    def __init__(
        self,
        config: MooreConfig,
        inputs: int,
        outputs: int,
        num_tasks: int,
        ensemble: int,
        generator: torch.Generator,
    ):
        super().__init__()
        self.num_tasks, self.ensemble = num_tasks, ensemble
        count, width = config.num_experts, config.hidden_dim
        xavier = math.sqrt(6.0 / (num_tasks + count))
        self.composition = uniform((ensemble, num_tasks, count), xavier, generator)
        sizes = (inputs, *[width] * config.num_layers)
        self.experts = group_chain(ensemble, count, sizes, generator, init="fan-in")
        self.heads = TaskHeads(ensemble, num_tasks, width, outputs, generator)

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs]; there is no route to choose."""
        experts = self.expert_outputs(x)
        batch = x.shape[1]
        weights = self.composition.unsqueeze(1).expand(-1, batch, -1, -1).flatten(1, 2)
        vectors = experts.transpose(1, 2)
        on_raw = coefficients(vectors, weights).view(self.ensemble, batch, self.num_tasks, 1, -1)
        features = mix(on_raw, experts).view(self.ensemble, batch, self.num_tasks, -1)
        return Output(self.heads(features.tanh()))

    def expert_outputs(self, x: Tensor) -> Tensor:
        """What the experts compute before they are made orthonormal, [E, k, row, hidden_dim]."""
        return relu_between(self.experts, as_rows(x))


def gram_schmidt_factor(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Factor of the Gram-Schmidt process on the rows of ``vectors`` [..., k, d].

    Returns:
        (L, scale), float64: the orthonormal rows are ``L^-1 (scale * vectors)``, with L [..., k, k] lower
        triangular and scale [..., k, 1] the reciprocal lengths.
    """
    wide = vectors.double()
    gram = wide @ wide.transpose(-1, -2)
    length = gram.diagonal(dim1=-2, dim2=-1).clamp_min(SHIFT).sqrt()
    unit = gram / (length.unsqueeze(-1) * length.unsqueeze(-2))
    shift = SHIFT * torch.eye(vectors.shape[-2], dtype=unit.dtype, device=unit.device)
    factor: Tensor = torch.linalg.cholesky_ex(unit + shift).L
    return factor, length.reciprocal().unsqueeze(-1)


def orthonormal(vectors: Tensor) -> Tensor:
    """Gram-Schmidt on the rows of ``vectors`` [..., k, d], in float64."""
    factor, scale = gram_schmidt_factor(vectors)
    basis: Tensor = torch.linalg.solve_triangular(factor, scale * vectors.double(), upper=False)
    return basis


def coefficients(vectors: Tensor, weights: Tensor) -> Tensor:
    """Return c [..., k] with ``c @ vectors == weights @ orthonormal(vectors)``, in the precision of ``vectors``.

    Args:
        vectors: [..., k, d].
        weights: [..., k], of the orthonormal vectors.
    """
    factor, scale = gram_schmidt_factor(vectors)
    solved: Tensor = torch.linalg.solve_triangular(
        factor.transpose(-1, -2), weights.double().unsqueeze(-1), upper=True
    )
    return (scale * solved).squeeze(-1).to(vectors.dtype)
