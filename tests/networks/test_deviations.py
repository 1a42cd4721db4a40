"""Switches of ``docs/protocols.md`` that no named variant uses: each against its formula."""

from __future__ import annotations

import math

import torch

from d2r.algorithms.sac import MultiTaskSAC
from d2r.config import SacConfig
from d2r.config.networks import RoutedConfig
from d2r.networks.d2r.levels import D2RNetwork
from d2r.networks.registry import build_actor, build_critics
from d2r.networks.routing import Deterministic, Sampled
from tests.support.variants import batch, network, states

SMALL = RoutedConfig(num_modules=16, module_dim=8, encoder_dim=12, router_dim=10)


def test_weights_without_renormalisation_are_shares_of_the_full_softmax() -> None:
    for renormalise in (True, False):
        route = network("d2r", renormalise=renormalise)(states()).route
        assert route is not None
        full = route.logits.softmax(-1).gather(-1, route.sources)[..., 2:, :]
        expected = full / full.sum(-1, keepdim=True) if renormalise else full
        assert torch.allclose(route.weights[..., 2:, :], expected, atol=1e-6)


def test_relu_on_the_router_input() -> None:
    plain, rectified = network("d2r"), network("d2r", router_input="relu-product")
    encoded = torch.randn(1, 4, 3, 12)
    assert (plain.router_input(encoded) < 0).any()
    assert torch.equal(rectified.router_input(encoded), plain.router_input(encoded).relu())


def test_initialisation_is_bounded_by_outputs_or_by_inputs() -> None:
    for name in ("fan-out", "fan-in"):
        built = build_actor(
            SMALL.model_copy(update={"initialisation": name}), 3, torch.Generator().manual_seed(0)
        )
        assert isinstance(built, D2RNetwork)
        weight = built.state_encoder[0].weight
        bound = 1 / math.sqrt(12 if name == "fan-out" else 39)
        assert bound * 0.95 < weight.abs().max() <= bound
        assert (built.state_encoder[0].bias == 0.1).all()
        assert built.head.weight.abs().max() <= 3e-3


def learner(**switches: object) -> MultiTaskSAC:
    generator = torch.Generator().manual_seed(0)
    sac = SacConfig.model_validate(switches)
    return MultiTaskSAC(build_actor(SMALL, 3, generator), build_critics(SMALL, 3, generator), sac)


def test_route_of_the_critics_in_the_td_loss() -> None:
    for kind, rule in (("sampled", Sampled), ("deterministic", Deterministic)):
        draws = learner(critic_route=kind).draw(batch(stored=True), [torch.Generator()])
        assert isinstance(draws.critic_rule, rule)


def test_loss_weights() -> None:
    log_alpha = torch.tensor([0.0, -1.0, -2.0])
    expected = {
        "softmax": 3 * torch.softmax(-log_alpha, 0),
        "softmax-alpha": 3 * torch.softmax(-log_alpha.exp(), 0),
        "uniform": torch.ones(3),
    }
    for kind, weights in expected.items():
        sac = learner(task_weights=kind)
        with torch.no_grad():
            sac.log_alpha.copy_(log_alpha)
        assert torch.allclose(sac.loss_weights(), weights)
