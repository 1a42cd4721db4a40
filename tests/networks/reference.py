"""The module stack of section 3.2: two tensors a module, ``detach``, and dense mixes. Slow, and plain to read."""

from __future__ import annotations

import torch
from torch import Tensor


def dense_modules(
    first: Tensor,
    weight: Tensor,
    bias: Tensor,
    sources: Tensor,
    weights: Tensor,
    suitable: Tensor | None,
    residual: bool,
) -> Tensor:
    """The same arguments and result as ``d2r.networks.d2r.stack.run_modules``."""
    ensemble, batch, dim = first.shape
    groups = sources.shape[0]
    shape = (groups, ensemble, batch, groups)
    nothing = torch.zeros(shape, dtype=first.dtype)
    index, chosen = sources.view(*shape[:3], -1), weights.view(*shape[:3], -1)
    share = nothing.scatter_add(-1, index, chosen)
    open_share = share
    if suitable is not None:
        open_share = nothing.scatter_add(-1, index, chosen * suitable.view_as(index))
    open_outputs, blocked_outputs = [first], [first.detach()]

    def mix(group: int, restricted: bool) -> Tensor:
        total = torch.zeros(ensemble, batch, dim, dtype=first.dtype)
        for source, (m, m_blocked) in enumerate(zip(open_outputs, blocked_outputs, strict=True)):
            p, p_open = share[group, :, :, source, None], open_share[group, :, :, source, None]
            total = total + (p_open * m + (p - p_open) * m_blocked if restricted else p * m)
        return total

    for target in range(1, groups):
        branch = mix(target - 1, restricted=True)
        own = (torch.einsum("ebi,eoi->ebo", branch, weight[:, target - 1]) + bias[:, target - 1, None]).relu()
        shortcut = mix(target - 1, restricted=False) if residual else 0.0
        open_outputs.append(own + shortcut)
        blocked_outputs.append(own.detach() + shortcut)
    return mix(groups - 1, restricted=True)
