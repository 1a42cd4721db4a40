"""The base module network: N modules in topological order, each fed by a weighted mix of earlier ones.

    m_1 = ReLU(W_1 x + b_1)
    x_i = sum_k p_ik m_s(i,k)            s(i, .): the K chosen sources of module i, p_i: their weights
    m_i = ReLU(W_i x_i + b_i) + x_i      the shortcut is the official code's ``use_resnet``
    h   = sum_k p_out,k m_s(out,k)

ResRouting (paper section 3.2; official ``DepthRouteModule.forward``) leaves these values alone and changes
gradients. With sg the stop-gradient and y_i = ReLU(W_i x_i + b_i), each module has two outputs of equal
value,

    m_i = y_i + x_i    and    mbar_i = sg(y_i) + x_i        (mbar_1 = sg(m_1)),

and where source j is unsuitable for target i, the *branch* of i reads mbar_j in place of m_j: module j's
own computation gets no gradient from there, while the gradient through its shortcut is kept. The shortcut
of i always reads m_j.

Written as one autograd function, because only K of the i - 1 candidates are ever read: a gather in the
forward pass and an indexed addition in the backward pass replace the full mix. Let A_i be the whole
gradient that reaches module i's output (through m_i or mbar_i) and G_i the part that came through m_i.
Going from the output to module 2,

    dy_i = G_i,   du_i = W_i^T (dy_i * ReLU'),   dx_i = A_i (0 without the shortcut),
    A_j += p_ij (du_i + dx_i),   G_j += p_ij (g_ij du_i + dx_i),   dp_ij = <m_j, du_i + dx_i>,

with g_ij = 1 where j is suitable for i. ``tests/networks/reference.py`` says the same with two tensors a
module and ``detach``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def run_modules(
    first: Tensor,
    weight: Tensor,
    bias: Tensor,
    sources: Tensor,
    weights: Tensor,
    suitable: Tensor | None,
    residual: bool,
) -> Tensor:
    """Run modules 2..N on the output of module 1 and mix the result.

    Args:
        first: [E, B, D], the output of module 1.
        weight: [E, N-1, D, D] and bias [E, N-1, D] of modules 2..N.
        sources: [N, E*B, K] integer: the sources of module 2, ..., module N, output, for each row.
        weights: [N, E*B, K], their weights.
        suitable: [N, E*B, K] boolean, or none to let every gradient pass (ResRouting off).
        residual: whether modules have a shortcut.

    Returns:
        [E, B, D], the routed mix that the head reads.
    """
    out: Tensor = _ModuleStack.apply(first, weight, bias, sources, weights, suitable, residual)  # type: ignore[no-untyped-call]
    return out


class _ModuleStack(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        first: Tensor,
        weight: Tensor,
        bias: Tensor,
        sources: Tensor,
        weights: Tensor,
        suitable: Tensor | None,
        residual: bool,
    ) -> Tensor:
        ensemble, batch, dim = first.shape
        count, rows = sources.shape[0], ensemble * batch
        index = sources * rows + torch.arange(rows, device=first.device).unsqueeze(1)
        modules = first.new_empty(count, ensemble, batch, dim)
        mixes = first.new_empty(count - 1, ensemble, batch, dim)
        modules[0] = first
        table = modules.view(count * rows, dim)
        active = torch.empty(count - 1, ensemble, batch, dim, dtype=torch.bool, device=first.device)
        for target in range(1, count):
            mix = F.embedding_bag(
                index[target - 1], table, per_sample_weights=weights[target - 1], mode="sum"
            )
            mix = mix.view(ensemble, batch, dim)
            mixes[target - 1] = mix
            own = torch.baddbmm(
                bias[:, target - 1 : target], mix, weight[:, target - 1].transpose(1, 2)
            ).relu_()
            torch.gt(own, 0, out=active[target - 1])
            modules[target] = own.add_(mix) if residual else own
        out = F.embedding_bag(index[count - 1], table, per_sample_weights=weights[count - 1], mode="sum")
        ctx.save_for_backward(modules, mixes, active, weight, index, weights, suitable)
        ctx.residual = residual
        return out.view(ensemble, batch, dim)

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        modules, mixes, active, weight, index, weights, suitable = ctx.saved_tensors
        count, ensemble, batch, dim = modules.shape
        rows, top_k = ensemble * batch, index.shape[-1]
        table = modules.view(count * rows, dim)
        whole = torch.zeros_like(table)
        own = torch.zeros_like(table) if suitable is not None else whole
        grad_weights = torch.empty_like(weights)
        want_parameters = ctx.needs_input_grad[1]
        grad_weight = torch.empty_like(weight) if want_parameters else None
        grad_bias = weight.new_empty(weight.shape[:3]) if want_parameters else None

        def send_back(group: int, branch: Tensor, shortcut: Tensor | None) -> None:
            """Spread the gradient of a target's input over its sources and their weights."""
            total = branch if shortcut is None else branch + shortcut
            for k in range(top_k):
                where = index[group, :, k]
                share = weights[group, :, k : k + 1]
                torch.linalg.vecdot(table.index_select(0, where), total, out=grad_weights[group, :, k])
                whole.index_add_(0, where, total * share)
                if suitable is not None:
                    allowed = branch * suitable[group, :, k : k + 1]
                    own.index_add_(
                        0, where, (allowed if shortcut is None else allowed.add_(shortcut)).mul_(share)
                    )

        send_back(count - 1, grad_out.reshape(rows, dim), None)
        for target in range(count - 1, 0, -1):
            through = own[target * rows : (target + 1) * rows].view(ensemble, batch, dim) * active[target - 1]
            if grad_weight is not None and grad_bias is not None:
                grad_weight[:, target - 1] = torch.bmm(through.transpose(1, 2), mixes[target - 1])
                grad_bias[:, target - 1] = through.sum(1)
            branch = torch.bmm(through, weight[:, target - 1]).view(rows, dim)
            send_back(
                target - 1, branch, whole[target * rows : (target + 1) * rows] if ctx.residual else None
            )
        grad_first = own[:rows].view(ensemble, batch, dim)
        return grad_first, grad_weight, grad_bias, None, grad_weights, None, None
