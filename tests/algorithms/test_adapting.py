"""What learns on of a learner that was trained before, and that nothing else moves by a bit."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from d2r.algorithms.adapting import Adaptation
from d2r.algorithms.sac import MultiTaskSAC
from d2r.config import load_method
from d2r.errors import UserError
from d2r.networks.base import Network
from d2r.networks.parts import tensors_by_task
from d2r.networks.registry import build_actor, build_critics
from tests.support.variants import batch

TASKS, NEW = 3, (1, 2)
SIZES = (
    "module_dim", "encoder_dim", "router_dim", "gating_dim", "hidden_dim", "context_dim",
)  # fmt: skip
WITH_ROUTER = ["d2r", "d2r-layer", "d2r-model", "d2r-concat-routing", "softmod-deep", "mmoe", "care"]
WITHOUT = ["mtsac", "mtmhsac", "paco", "moore", "film", "pcgrad", "sac"]
ADAPTING = [(method, "router") for method in WITH_ROUTER] + [
    (method, "new-task") for method in [*WITH_ROUTER, *WITHOUT]
]


def learner(method: str, adaptation: Adaptation | None, **switches: Any) -> MultiTaskSAC:
    chosen = load_method(method)
    small = {name: 8 for name in SIZES if name in type(chosen.network).model_fields}
    network = chosen.network.model_copy(update=small)
    generator = torch.Generator().manual_seed(0)
    actor, critics = build_actor(network, TASKS, generator), build_critics(network, TASKS, generator)
    sac = chosen.sac.model_copy(update={"task_loss_threshold": None, "max_log_alpha": None, **switches})
    made = MultiTaskSAC(actor, critics, sac, adaptation=adaptation)
    with torch.no_grad():  # as a learner that was trained is: no two parts alike, targets behind critics
        for parameter in [*actor.parameters(), *critics.parameters()]:
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return made


def update(sac: MultiTaskSAC, times: int = 1) -> None:
    stream = torch.Generator().manual_seed(2)
    for _ in range(times):
        data = batch(stored=type(sac.actor).__name__ == "D2RNetwork")
        sac.update(data, sac.draw(data, [stream]))


def tensors(network: Network) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.named_parameters()}


def learning(network: Network, adapt: str) -> dict[str, Tensor]:
    """Which entries of each parameter learn, worked out by names and one task at a time."""
    layers = network.routing_layers if adapt == "router" else network.output_layers
    whole = {id(parameter) for layer in layers for parameter in layer.parameters()}
    found = {}
    for name, parameter in network.named_parameters():
        learns = torch.full(parameter.shape, id(parameter) in whole)
        place = tensors_by_task(network).get(name)
        for task in NEW if place is not None else ():
            learns.transpose(0, place.axis)[place.start + task] = True
        found[name] = learns
    return found


def bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(torch.int32)


@pytest.mark.parametrize(("method", "adapt"), ADAPTING)
def test_what_is_kept_does_not_move_by_a_bit_and_all_else_does(method: str, adapt: Any) -> None:
    sac = learner(method, Adaptation(adapt, NEW))
    sac.settle_targets()
    networks = {"actor": sac.actor, "critics": sac.critics, "targets": sac.targets}
    before = {name: tensors(network) for name, network in networks.items()}
    update(sac, 3)
    for of, network in networks.items():
        learns = learning(network, adapt)
        for name, now in tensors(network).items():
            same = bits(now) == bits(before[of][name])
            assert same[~learns[name]].all(), f"{of}.{name}"
        assert any((bits(t) != bits(before[of][name])).any() for name, t in tensors(network).items())
    assert (sac.log_alpha != 0).all(), "temperatures learn always"


@pytest.mark.parametrize(("method", "adapt"), ADAPTING)
def test_what_learns_moves_as_if_everything_learned(method: str, adapt: Any) -> None:
    """It is the same update: but for the norm that gradients are clipped to, which is of what learns."""
    some, everything = (
        learner(method, adaptation, grad_clip=1e12) for adaptation in (Adaptation(adapt, NEW), None)
    )
    for sac in (some, everything):
        update(sac)
    for one, other in ((some.actor, everything.actor), (some.critics, everything.critics)):
        learns = learning(one, adapt)
        for (name, here), there in zip(one.named_parameters(), other.parameters(), strict=True):
            assert torch.equal(here[learns[name]], there[learns[name]]), name


def test_targets_of_what_is_kept_are_what_it_is() -> None:
    sac = learner("d2r", Adaptation("router", NEW))
    far = copy.deepcopy(sac.targets)
    sac.settle_targets()
    for name, learns in learning(sac.critics, "router").items():
        critic, target, was = (
            dict(network.named_parameters())[name] for network in (sac.critics, sac.targets, far)
        )
        assert torch.equal(target[~learns], critic[~learns]), name
        assert torch.equal(target[learns], was[learns]), name


@pytest.mark.parametrize("method", [*WITHOUT, "d2r-fixed-depth", "d2r-random-route"])
def test_a_network_without_a_router_cannot_adapt_it(method: str) -> None:
    with pytest.raises(UserError, match="adapt: router needs a routing network"):
        learner(method, Adaptation("router", NEW))


def test_a_seed_alone_keeps_the_same() -> None:
    assert learner("mtsac", Adaptation("new-task", NEW)).alone(0).adaptation == Adaptation("new-task", NEW)
    assert learner("mtsac", None).alone(0).adaptation is None


def test_gradients_that_are_no_numbers_are_dropped_with_the_rest() -> None:
    sac = learner("mtsac", Adaptation("new-task", NEW))
    for parameter in sac.actor.parameters():
        parameter.grad = torch.full_like(parameter, float("nan"))
    sac._kept[0].drop_gradients()
    column = sac.actor.first.weight.grad
    assert not column[..., : 39 + 1].isnan().any()
    assert column[..., 39 + 1 :].isnan().all()
