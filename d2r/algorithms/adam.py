"""Adam (Kingma and Ba, arXiv 1412.6980) without weight decay, as PyTorch's fused kernel computes it.

Same layout of the state as ``torch.optim.Adam(fused=True)``, and where the compiled library does not serve same kernel
and bits. That class loads PyTorch's compiler (with sympy, half of a process's start) at its first use and asks many
questions at each step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from d2r.algorithms.compiled_optimiser import Group, Moved
from d2r.algorithms.gradients import CLIP_EPSILON, clip_members
from d2r.kernel.library import serving

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
MOMENTS = ("exp_avg", "exp_avg_sq")


class Adam:
    """Moves groups of parameters along their gradients, each group at its own rate.

    Several seeds' parameters lie side by side along the first axis. Moments and numbers of steps are a seed's own, and
    seeds that take a step together have taken as many before.

    Attributes:
        state: of every parameter that ever had a gradient, ``step`` [seed], ``exp_avg`` and ``exp_avg_sq`` [its shape].

    Args:
        groups: parameters of one type and device, with their learning rate, and how many rows of each are a seed's; 0
            where alone it has no such axis.
        axes: leading axes of parameters that tell members apart, whose gradients are clipped each on their own.
    """

    def __init__(self, groups: Sequence[tuple[Sequence[Tensor], float, int]], axes: int = 1):
        self._groups, self._axes = groups, axes
        self._parameters = [parameter for parameters, _, _ in groups for parameter in parameters]
        self._rows = [rows for parameters, _, rows in groups for _ in parameters]
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        compiled = [Group(of, rate, of[0].shape[:axes], _seeds(of[0], rows)) for of, rate, rows in groups]
        self._compiled = Moved(compiled, (BETA1, BETA2), EPSILON)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def clip(self, bound: float) -> list[Tensor]:
        """Scale gradients so that the norm of each member is at most ``bound``.

        Returns:
            The norms before, of each group as :func:`clip_members` returns them.
        """
        kernel = serving(self._parameters[0])
        if kernel is not None:
            norms = self._compiled.clip(kernel, self._gradients(), bound, CLIP_EPSILON)
            if norms is not None:
                return norms
        return [
            clip_members(parameters, bound, self._axes, _seeds(parameters[0], rows))
            for parameters, _, rows in self._groups
        ]

    @torch.no_grad()
    def step(self) -> None:
        """Make one step; parameters without a gradient stay as they are."""
        if len(self.state) < len(self._parameters):
            for parameter, rows in zip(self._parameters, self._rows, strict=True):
                if parameter.grad is not None and parameter not in self.state:
                    self._begin(parameter, rows)
        kernel = serving(self._parameters[0])
        if kernel is None or not self._compiled.step(kernel, self._gradients(), self.state):
            self._step()

    def _gradients(self) -> list[Tensor | None]:
        return [parameter.grad for parameter in self._parameters]

    def _step(self) -> None:
        """A step by PyTorch's kernel."""
        for parameters, rate, rows in self._groups:
            moved = [parameter for parameter in parameters if parameter.grad is not None]
            if not moved:
                continue
            states = [self.state[parameter] for parameter in moved]
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1)
            seeds = _seeds(moved[0], rows)
            torch._fused_adam_(
                by_seed(moved, seeds),
                by_seed([parameter.grad for parameter in moved if parameter.grad is not None], seeds),
                by_seed([state["exp_avg"] for state in states], seeds),
                by_seed([state["exp_avg_sq"] for state in states], seeds),
                [],
                [of_seed for step in steps for of_seed in (step if moved[0].is_cpu else step[:1])],
                lr=rate,
                beta1=BETA1,
                beta2=BETA2,
                weight_decay=0.0,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )

    def _begin(self, parameter: Tensor, rows: int) -> dict[str, Tensor]:
        self.state[parameter] = {
            "step": torch.zeros(_seeds(parameter, rows), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
        return self.state[parameter]

    def shapes(self) -> list[torch.Size]:
        """Of each parameter, that of one seed's part."""
        return [
            _part(parameter, 0, rows).shape
            for parameter, rows in zip(self._parameters, self._rows, strict=True)
        ]

    def state_dict(self, place: int = 0) -> dict[str, Any]:
        """A copy of a seed's state, by the number of each parameter that it has ever moved."""
        numbers = {parameter: number for number, parameter in enumerate(self._parameters)}
        return {
            "state": {
                numbers[parameter]: {
                    "step": state["step"][place].clone(),
                    **{
                        key: _part(state[key], place, self._rows[numbers[parameter]]).clone()
                        for key in MOMENTS
                    },
                }
                for parameter, state in self.state.items()
                if state["step"][place] > 0
            }
        }

    def load_state_dict(self, state: Mapping[str, Any], place: int = 0) -> None:
        """Restore what :meth:`state_dict` returned, or that of ``torch.optim.Adam`` for one seed's parameters."""
        for parameter, rows in zip(self._parameters, self._rows, strict=True):
            if parameter in self.state:
                self.state[parameter]["step"][place] = 0
                for key in MOMENTS:
                    _part(self.state[parameter][key], place, rows).zero_()
        for number, values in state["state"].items():
            parameter = self._parameters[number]
            own = self.state.get(parameter) or self._begin(parameter, self._rows[number])
            own["step"][place].copy_(values["step"])
            for key in MOMENTS:
                _part(own[key], place, self._rows[number]).copy_(values[key])


def by_seed(tensors: Sequence[Tensor], seeds: int) -> list[Tensor]:
    """Tensors of several seeds, on a CPU each seed's part of them, as if it were alone.

    A CPU rounds the numbers of a whole vector otherwise than those that are left over at a tensor's end.
    """
    if seeds == 1 or not tensors[0].is_cpu:
        return list(tensors)
    return [part for tensor in tensors for part in tensor.chunk(seeds)]


def _seeds(parameter: Tensor, rows: int) -> int:
    return len(parameter) // max(1, rows)


def _part(moment: Tensor, place: int, rows: int) -> Tensor:
    return moment[place * rows : (place + 1) * rows] if rows else moment[place]
