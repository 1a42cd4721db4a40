"""The base module network: N modules in topological order, each fed by a weighted mix of earlier ones.

    m_1 = ReLU(W_1 x + b_1)
    x_i = sum_k p_ik m_s(i,k)            s(i, .): the K chosen sources of module i, p_i: their weights
    m_i = ReLU(W_i x_i + b_i) + x_i      the shortcut is the official code's ``use_resnet``
    h   = sum_k p_out,k m_s(out,k)

ResRouting (paper section 3.2; official ``DepthRouteModule.forward``) leaves these values alone and changes gradients.
With sg the stop-gradient and y_i = ReLU(W_i x_i + b_i), each module has two outputs of equal value,

    m_i = y_i + x_i    and    mbar_i = sg(y_i) + x_i        (mbar_1 = sg(m_1)),

and where source j is unsuitable for reader i, the *branch* of i reads mbar_j in place of m_j: module j's own
computation gets no gradient from there, while the gradient through its shortcut is kept. The shortcut of i always
reads m_j.

Written as one autograd function, because only K of the i - 1 candidates are ever read: weighted gathers replace the
full mixes in both directions. Let A_i be the whole gradient that reaches module i's output (through m_i or mbar_i), G_i
the part that came through m_i, and T_i the gradient of module i's input. Going from the output to module 2,

    T_i = W_i^T (G_i * ReLU') + A_i          (without the shortcut, A_i is 0 here)
    A_j = sum_i p_ij T_i,     G_j = sum_i p_ij (T_i where j is suitable for i, else A_i),     dp_ij = <m_j, T_i>.

``plain.py`` says the same with two tensors a module and ``detach``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from d2r.kernel.library import serving
from d2r.networks.d2r import compiled
from d2r.networks.d2r.readers import inner_products, readers_of, weighted_sum


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
        sources: [N, E, B, K] integer: the sources of module 2, ..., module N, output, for each row; here and below E
            and B may also be one axis.
        weights: [N, E, B, K], their weights.
        suitable: [N, E, B, K] boolean, or none to let every gradient pass (ResRouting off).
        residual: whether modules have a shortcut.

    Returns:
        [E, B, D], the routed mix that the head reads.

    Under autocast ``first`` is in fewer bits than the parameters, and all is computed in these.
    """
    kernel = serving(first, weight, bias, weights)
    if kernel is not None:
        shape = (len(sources), *first.shape[:2], sources.shape[-1])
        sources, weights = sources.reshape(shape), weights.reshape(shape)
        suitable = None if suitable is None else suitable.reshape(shape)
        stack = compiled.Stack(first.contiguous(), weight, bias, weights, sources, suitable, residual)
        return compiled.run_modules(kernel, stack)
    shape = (len(sources), first.shape[0] * first.shape[1], sources.shape[-1])
    sources, weights = sources.reshape(shape).contiguous(), weights.reshape(shape).contiguous()
    suitable = None if suitable is None else suitable.reshape(shape).contiguous()
    inputs = (first, weight.to(first.dtype), bias.to(first.dtype), weights.to(first.dtype))
    if torch.is_grad_enabled() and any(t.requires_grad for t in inputs):
        out: Tensor = _ModuleStack.apply(*inputs, sources, suitable, residual)  # type: ignore[no-untyped-call]
        return out
    return _forward(*inputs, sources, residual, keep=False).out


class _Pass(NamedTuple):
    """What a forward pass computes.

    Attributes:
        out: [E, B, D].
        modules: [N, E, B, D], the output of every module.
        own: [N-1, E, B, D], y_i; one of them, overwritten N - 1 times, where nothing is kept for the backward pass.
        mixes: x_i of every module but the first, each [E, B, D].
        rows: [N, E*B*K], row of each source in ``modules`` as a [N*E*B, D] table.
    """

    out: Tensor
    modules: Tensor
    own: Tensor
    mixes: list[Tensor]
    rows: Tensor


def _forward(
    first: Tensor, weight: Tensor, bias: Tensor, weights: Tensor, sources: Tensor, residual: bool, keep: bool
) -> _Pass:
    ensemble, batch, dim = first.shape
    count, rows, top_k = sources.shape
    index = (sources * rows + torch.arange(rows, device=first.device).unsqueeze(1)).view(count, rows * top_k)
    modules = first.new_empty(count, ensemble, batch, dim)
    modules[0] = first
    table = modules.view(count * rows, dim)
    own = modules[1:] if not residual else first.new_empty(count - 1 if keep else 1, ensemble, batch, dim)
    own_of = own.unbind(0) if len(own) == count - 1 else [own[0]] * (count - 1)
    bags = torch.arange(0, rows * top_k, top_k, device=first.device)
    index_of, share_of = index.unbind(0), weights.detach().reshape(count, rows * top_k).unbind(0)
    module_of = modules.unbind(0)[1:]
    parameters = zip(
        weight.detach().transpose(2, 3).unbind(1), bias.detach().unsqueeze(2).unbind(1), strict=True
    )
    mixes = []
    for reader, (matrix, offset) in enumerate(parameters):
        x = weighted_sum(table, index_of[reader], bags, share_of[reader]).view(ensemble, batch, dim)
        y = torch.baddbmm(offset, x, matrix, out=own_of[reader]).relu_()
        if residual:
            torch.add(y, x, out=module_of[reader])
        if keep:
            mixes.append(x)
    out = weighted_sum(table, index_of[-1], bags, share_of[-1]).view(ensemble, batch, dim)
    return _Pass(out, modules, own, mixes, index)


class _ModuleStack(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        first: Tensor,
        weight: Tensor,
        bias: Tensor,
        weights: Tensor,
        sources: Tensor,
        suitable: Tensor | None,
        residual: bool,
    ) -> Tensor:
        done = _forward(first, weight, bias, weights, sources, residual, keep=True)
        ctx.save_for_backward(
            done.modules, done.own, weight, weights, sources, suitable, done.rows, *done.mixes
        )
        ctx.residual = residual
        return done.out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        modules, own, weight, weights, sources, suitable, index, *mixes = ctx.saved_tensors
        count, ensemble, batch, dim = modules.shape
        rows, top_k = ensemble * batch, weights.shape[-1]
        # T of each reader's input, and below it what an unsuitable source gets instead: A, or 0 without a shortcut.
        into = modules.new_empty(2, count, ensemble, batch, dim)
        into[0, -1] = grad_out
        into[1, -1] = 0
        if not ctx.residual:
            into[1] = 0
        readers = readers_of(into.view(2 * count * rows, dim), sources, weights, suitable)
        want_parameters = ctx.needs_input_grad[1]
        grad_weight = torch.empty_like(weight) if want_parameters else None
        grad_bias = weight.new_empty(weight.shape[:3]) if want_parameters else None
        own_of, matrix_of, into_of, instead_of = (
            own.unbind(0),
            weight.unbind(1),
            into[0].unbind(0),
            into[1].unbind(0),
        )
        for reader in range(count - 1, 0, -1):
            through_own = readers.gradient(reader, suitable_only=True).view(ensemble, batch, dim)
            pre_activation = torch.ops.aten.threshold_backward(through_own, own_of[reader - 1], 0)
            if grad_weight is not None and grad_bias is not None:
                torch.bmm(pre_activation.transpose(1, 2), mixes[reader - 1], out=grad_weight[:, reader - 1])
                torch.sum(pre_activation, 1, out=grad_bias[:, reader - 1])
            if ctx.residual:
                whole = through_own
                if suitable is not None:
                    whole = readers.gradient(reader, suitable_only=False).view(ensemble, batch, dim)
                    instead_of[reader - 1].copy_(whole)
                torch.baddbmm(whole, pre_activation, matrix_of[reader - 1], out=into_of[reader - 1])
            else:
                torch.bmm(pre_activation, matrix_of[reader - 1], out=into_of[reader - 1])
        grad_first = readers.gradient(0, suitable_only=True).view(ensemble, batch, dim)
        table, sent = modules.view(count * rows, dim), into[0].view(count * rows, dim)
        grad_weights = inner_products(sent, table, index.view(-1), top_k)
        return grad_first, grad_weight, grad_bias, grad_weights.view(weights.shape), None, None, None
