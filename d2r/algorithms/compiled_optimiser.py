"""What moves parameters, by the compiled library, to rounding as PyTorch's operators do it.

``adam.py`` and ``targets.py`` call it where the library serves. A small network has some dozens of parameters, and to
ask each where it lies takes as long as to move it; so what was asked is remembered.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from d2r.networks.compiled import Functions, numbers

Places = list[int | None]


def places_of(tensors: Sequence[Tensor | None]) -> Places | None:
    """Where the numbers of tensors begin, of those that there are; none if those of one do not lie in their order."""
    if not all(t is None or t.is_contiguous() for t in tensors):
        return None
    return [None if t is None else t.data_ptr() for t in tensors]


def as_pointers(places: Places) -> Any:
    """Places as the library takes them."""
    return (ctypes.c_void_p * len(places))(*places)


class Group(NamedTuple):
    """Parameters of one rate.

    Attributes:
        members: leading axes of every parameter that tell apart whose gradients are clipped.
        seeds: how many equal parts it has along the first axis, each with its own steps.
    """

    parameters: Sequence[Tensor]
    rate: float
    members: torch.Size
    seeds: int


class Moved:
    """An optimiser's parameters as the library moves them.

    Args:
        betas, epsilon: Adam's.
    """

    def __init__(self, groups: Sequence[Group], betas: tuple[float, float], epsilon: float):
        self._parameters = [parameter for group in groups for parameter in group.parameters]
        sizes = [parameter.numel() for parameter in self._parameters]

        def in_parts(parts: Sequence[int]) -> Any:
            of_groups = [(len(group.parameters), n) for group, n in zip(groups, parts, strict=True)]
            return numbers(len(groups), *(n for pair in of_groups for n in pair), *sizes)

        self._shapes = [group.members for group in groups]
        self._members = [shape.numel() for shape in self._shapes]
        self._by_member, self._by_seed = in_parts(self._members), in_parts([group.seeds for group in groups])
        self._rates = (ctypes.c_double * len(groups))(*(group.rate for group in groups))
        self._constants = (ctypes.c_double * 3)(*betas, epsilon)
        self._known: tuple[Places, int] | None = None
        self._pointers: tuple[Any, ...] = ()

    def clip(
        self, kernel: Functions, gradients: Sequence[Tensor | None], bound: float, epsilon: float
    ) -> list[Tensor] | None:
        """Scale gradients in place so that the norm of each member is at most ``bound``.

        Returns:
            The norms before, of each group's members; none, and nothing is done, unless every gradient has memory of
            its own, where its numbers lie in their order.
        """
        places = places_of(gradients)
        if places is None:
            return None
        norms = self._parameters[0].new_empty(sum(self._members))
        options = bound, epsilon, norms.data_ptr(), torch.get_num_threads()
        if not kernel["clip"](self._by_member, as_pointers(places), *options):
            return None
        of_groups = zip(torch.split(norms, self._members), self._shapes, strict=True)
        return [norm if len(shape) == 1 else norm.view(shape) for norm, shape in of_groups]

    def step(
        self,
        kernel: Functions,
        gradients: Sequence[Tensor | None],
        state: Mapping[Tensor, Mapping[str, Tensor]],
    ) -> bool:
        """Make a step and count it; false, and nothing is done, if numbers of a tensor do not lie in their order.

        Args:
            state: Adam's, of all parameters with a gradient at least; what once is in it stays where it is.
        """
        of_gradients, places = places_of(gradients), places_of(self._parameters)
        if of_gradients is None or places is None:
            return False
        if (places, len(state)) != self._known:
            of_all = [state.get(parameter, {}) for parameter in self._parameters]
            moments = [[of.get(name) for of in of_all] for name in ("exp_avg", "exp_avg_sq", "step")]
            of_moments = [of for one in moments if (of := places_of(one)) is not None]
            if len(of_moments) < len(moments):
                return False
            self._pointers = tuple(as_pointers(of) for of in (places, *of_moments))
            self._known = places, len(state)
        parameters, *of_state = self._pointers
        kernel["adam"](
            self._by_seed,
            parameters,
            as_pointers(of_gradients),
            *of_state,
            self._rates,
            self._constants,
            torch.get_num_threads(),
        )
        increment_version(self._parameters)
        return True


class Following:
    """Targets that follow their critics by the library."""

    def __init__(self, targets: Sequence[Tensor], critics: Sequence[Tensor]):
        self._targets, self._critics = targets, critics
        self._sizes = numbers(1, len(targets), 1, *(target.numel() for target in targets))
        self._known: tuple[Places, Places] | None = None
        self._pointers: tuple[Any, Any] = (None, None)

    def follow(self, kernel: Functions, share: float) -> bool:
        """Move targets a share of the way; false, and nothing is done, if numbers do not lie in their order."""
        targets, critics = places_of(self._targets), places_of(self._critics)
        if targets is None or critics is None:
            return False
        if (targets, critics) != self._known:
            self._known, self._pointers = (targets, critics), (as_pointers(targets), as_pointers(critics))
        kernel["follow"](self._sizes, *self._pointers, share, torch.get_num_threads())
        increment_version(self._targets)
        return True
