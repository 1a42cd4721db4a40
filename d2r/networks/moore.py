"""MOORE (Hendawy et al., ICLR 2024, arXiv 2311.11385): a mixture of experts made orthonormal for every sample.

    V(s) = [expert_1(s), ..., expert_k(s)]       U(s) = Gram-Schmidt(V(s))
    output_task = head_task(tanh(w_task U(s)))

Configuration (AhmedMagdyHendawy/MOORE, ``run/metaworld``): k = 4 experts on MT10 and 6 on MT50, each
400-400-400 with a linear last layer; w one bias-free linear map of the one-hot task, Xavier; one linear
head a task.

Gram-Schmidt is computed as Q = L^-1 V with L the Cholesky factor of the Gram matrix V V^T: the same
vectors, signs included, for all samples at once and without a loop over experts. Only f = w Q is needed, so
c = L^-T w is solved for (k numbers a sample), f = c V, and the orthonormal vectors are never stored. The
gradient follows from that of the LQ decomposition (Seeger et al., arXiv 1710.08717): with p = L^-1 V df,

    dw = p,    dV = c df^T + L^-T H L^-1 V,    H_ij = H_ji = -w_i p_j for i >= j.

Orthogonality is lost with the square of V's condition number, so V's rows are scaled to unit length and the
k x k algebra is in float64. ``SHIFT`` on the diagonal keeps values and gradients finite where experts are
linearly dependent (official code: division by zero); such an expert's direction fades to zero instead.
The vectors so defined are orthonormal to 2e-6 where experts are at an angle above 0.001 rad to the span of those
before them; f is added up in float32, whose rounding grows with 1/angle: 1e-7 for a right angle, 1e-5 at 0.01 rad.

Deviations:

1. The authors' experts end up with PyTorch's default initial values (their Xavier values are overwritten),
   and so do these: identical biases, as in the official D2R code, would make the experts nearly parallel at
   first. Heads start within 0.003 as in the official D2R code, the authors' by Xavier.
2. Linearly dependent experts fade out where the authors' code divides by zero.
3. The bounds on the log standard deviation are those of the common SAC, [-20, 2], not [-10, 2].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from d2r.config.networks import MooreConfig
from d2r.networks.base import Network, Output, architecture
from d2r.networks.blocks import as_rows, relu_between
from d2r.networks.maker import Maker
from d2r.networks.parts import OfTasks
from d2r.networks.routing import DETERMINISTIC, RouteRule

SHIFT = 1e-12


@architecture(MooreConfig)
class MooreNetwork(Network):
    """E copies of k orthonormal experts with a head for each task.

    Attributes:
        composition: [E, task, k], weights w of the orthonormal experts.
    """

    def __init__(self, config: MooreConfig, make: Maker):
        super().__init__(make)
        count, width = config.num_experts, config.hidden_dim
        xavier = math.sqrt(6.0 / (make.num_tasks + count))
        self.composition = make.uniform(xavier, make.num_tasks, count)
        self.experts = make.groups(count, make.inputs, *[width] * config.num_layers, init="fan-in")
        self.heads = make.task_heads(width)

    @property
    def by_task(self) -> Mapping[str, OfTasks]:
        """The weights of the experts."""
        return {"composition": OfTasks(1)}

    @property
    def output_layers(self) -> Sequence[nn.Module]:
        """One a task."""
        return (self.heads,)

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs]; there is no route to choose."""
        batch = x.shape[1]
        weights = self.composition.unsqueeze(1).expand(-1, batch, -1, -1)
        experts = self.expert_outputs(x).transpose(1, 2)
        of_row = experts.reshape(self.ensemble, batch, self.num_tasks, *experts.shape[2:])
        return Output(self.heads(mix_orthonormal(of_row, weights).tanh()))

    def expert_outputs(self, x: Tensor) -> Tensor:
        """What the experts compute before they are made orthonormal, [E, k, row, hidden_dim]."""
        return relu_between(self.experts, as_rows(x))


def mix_orthonormal(vectors: Tensor, weights: Tensor) -> Tensor:
    """Mix the vectors that Gram-Schmidt makes of the rows of ``vectors``, in their precision, with its gradient.

    Args:
        vectors: [..., k, d].
        weights: [..., k], of the orthonormal vectors.

    Returns:
        [..., d].
    """
    out: Tensor = _MixOrthonormal.apply(vectors, weights)  # type: ignore[no-untyped-call]
    return out


def gram_schmidt_factor(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Factor of the Gram-Schmidt process on the rows of ``vectors`` [..., k, d].

    Returns:
        (L, scale), float64: the orthonormal rows are ``L^-1 (scale * vectors)``, with L [..., k, k] lower
        triangular and scale [..., k, 1] the reciprocal lengths of the rows.
    """
    wide = vectors.double()
    gram = wide @ wide.transpose(-1, -2)
    length = gram.diagonal(dim1=-2, dim2=-1).clamp_min(SHIFT).sqrt().unsqueeze(-1)
    unit = gram / (length * length.transpose(-1, -2))
    shift = SHIFT * torch.eye(vectors.shape[-2], dtype=unit.dtype, device=unit.device)
    factor: Tensor = torch.linalg.cholesky_ex(unit + shift).L
    return factor, length.reciprocal()


class _MixOrthonormal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, weights: Tensor) -> Tensor:
        vectors = vectors.contiguous()
        factor, scale = gram_schmidt_factor(vectors)
        wide = weights.double().unsqueeze(-1)
        on_raw = scale * torch.linalg.solve_triangular(factor.mT, wide, upper=True)
        on_raw = on_raw.to(vectors.dtype)
        ctx.save_for_backward(vectors, wide, factor, scale, on_raw)
        mixed: Tensor = (on_raw.mT @ vectors).squeeze(-2)
        return mixed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        vectors, weights, factor, scale, on_raw = ctx.saved_tensors
        along = (vectors @ gradient.unsqueeze(-1)).double()
        along = torch.linalg.solve_triangular(factor, scale * along, upper=False)
        lower = (-weights @ along.mT).tril()
        both = lower + lower.tril(-1).mT
        inner = torch.linalg.solve_triangular(factor.mT, both, upper=True)
        inner = torch.linalg.solve_triangular(factor, inner, upper=False, left=False)
        inner = (scale * inner * scale.mT).to(vectors.dtype)
        on_vectors = torch.cat([inner, on_raw], -1) @ torch.cat([vectors, gradient.unsqueeze(-2)], -2)
        return on_vectors, along.squeeze(-1).to(vectors.dtype)
