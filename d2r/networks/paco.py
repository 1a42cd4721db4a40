"""PaCo (Sun et al., NeurIPS 2022, arXiv 2210.11653): each task's network is a combination of K shared parameter sets.

    theta_task = sum_k w_task,k phi_k            for every weight matrix and bias

Configuration (TToTMooN/paco-mtrl, ``paco/examples/metaworld_mt10_paco_conf.py``): three hidden layers of
400 units, the output layer compositional too; K = 5 on MT10 and 20 on MT50 (for MT50 metaworld-algorithms;
the authors released no configuration). The K sets start *identical* and w from N(0, 1), as there, so that a
task's first layers are the common ones times the sum of its w. Hidden weights are therefore drawn as their
framework draws them (HorizonRobotics/alf, ``variance_scaling_init``), which keeps the size of a signal; with the
smaller ones of the official D2R code, tasks whose sum is small have next to no signal to learn from.

When a task's loss exceeds the threshold, its loss is masked and its column of w is reset to a random convex
combination of the other tasks' columns (``reset_masked``; ``PaCoMTSacAlgorithm.after_update``: uniform
random shares, normalised).

Deviations:

1. Actor and each critic have a w of their own, each with its own random mixture at a reset; the authors
   share one among them and the target critics, with its own optimiser (all at 3e-4). So a reset reaches
   the targets by their soft update here, at once there.
2. Where every task is masked at once nothing is reset; the authors' code would set every column to zero.
3. The output layer starts as in the official D2R code, as with every method; the authors' policy starts wider.
4. The bounds on the log standard deviation are those of the common SAC, [-20, 2], not [-10, 2].

The combined parameters are formed once for each task (K multiply-adds a parameter) and applied to all of
its rows, which costs the batch size over K times less than mixing K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from d2r.config.networks import PacoConfig
from d2r.networks.base import Network, Output, architecture
from d2r.networks.blocks import GroupLinear, grouped_linear
from d2r.networks.maker import Maker
from d2r.networks.parts import OfTasks
from d2r.networks.routing import DETERMINISTIC, RouteRule


@architecture(PacoConfig)
class PacoNetwork(Network):
    """E copies of K parameter sets and the tasks' combination weights.

    Attributes:
        composition: [E, task, K], the combination weights w.
    """

    def __init__(self, config: PacoConfig, make: Maker):
        super().__init__(make)
        self.config = config
        self.composition = make.normal(make.num_tasks, config.num_sets)
        sizes = (make.inputs, *[config.hidden_dim] * config.num_layers)
        self.hidden = nn.ModuleList(
            self._parameter_sets(make.group(1, a, b, init="he"))
            for a, b in zip(sizes, sizes[1:], strict=False)
        )
        self.head = self._parameter_sets(make.group(1, config.hidden_dim, make.outputs, init="head"))

    def _parameter_sets(self, layer: GroupLinear) -> GroupLinear:
        """Turn a single linear map into K identical ones."""
        for name, parameter in list(layer.named_parameters()):
            shape = (self.ensemble, self.config.num_sets, *parameter.shape[2:])
            setattr(layer, name, nn.Parameter(torch.empty(shape).copy_(parameter.detach())))
        return layer

    @property
    def by_task(self) -> Mapping[str, OfTasks]:
        """The combination weights."""
        return {"composition": OfTasks(1)}

    @property
    def output_layers(self) -> Sequence[nn.Module]:
        """The last of the parameter sets."""
        return (self.head,)

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs]; there is no route to choose."""
        h = x.transpose(1, 2)
        for layer in self.hidden:
            h = self.apply_composed(layer, h).relu()
        return Output(self.apply_composed(self.head, h).transpose(1, 2))

    def apply_composed(self, layer: nn.Module, h: Tensor) -> Tensor:
        """Apply each task's combination of ``layer``'s K sets to [E or 1, task, batch, inputs]."""
        assert isinstance(layer, GroupLinear)
        weight = (self.composition @ layer.weight.flatten(2)).view(
            *self.composition.shape[:2], *layer.weight.shape[2:]
        )
        return grouped_linear(h, weight, self.composition @ layer.bias)

    @torch.no_grad()
    def after_update(self, masked: Tensor, streams: Sequence[torch.Generator]) -> None:
        """Reset the columns of w of ``masked`` tasks ([seed, task] boolean) to random mixtures of the others'."""
        if not self.config.reset_masked:
            return
        of_seeds = self.composition.view(len(streams), -1, *self.composition.shape[1:])
        for composition, out, stream in zip(of_seeds, masked, streams, strict=True):
            if not bool(out.any()) or bool(out.all()):
                continue
            shares = torch.rand(
                (len(composition), self.num_tasks, self.num_tasks), generator=stream, device=stream.device
            )
            shares = shares.to(composition) * ~out
            mixtures = (shares / shares.sum(-1, keepdim=True)) @ composition
            composition.copy_(torch.where(out.view(1, -1, 1), mixtures, composition))
