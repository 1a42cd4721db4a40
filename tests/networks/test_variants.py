"""Each D2R variant: what its switch changes, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from d2r.algorithms.sac import MultiTaskSAC
from d2r.config import Method, load_method, method_ids
from d2r.config.files import config_folder
from d2r.config.networks import RoutedConfig
from d2r.config.reader import read_yaml
from d2r.networks.d2r.levels import D2RNetwork
from d2r.networks.registry import build_actor, build_critics
from d2r.networks.routing import DETERMINISTIC, Replayed, Sampled
from tests.support.variants import BATCH, SMALL, TASKS, batch, network, sampled, states

DIFFERENCES: dict[str, dict[str, Any]] = {
    "d2r-no-resrouting": {"network.resrouting": "off"},
    "d2r-target-route": {"network.resrouting": "off", "sac.policy_route": "current"},
    "d2r-naive": {"network.resrouting": "off", "sac.policy_route": "current", "sac.route_balancing": False},
    "d2r-no-balance": {"sac.route_balancing": False},
    "d2r-resrouting-target": {"network.resrouting": "target"},
    "d2r-task-routing": {"network.router_input": "task"},
    "d2r-state-routing": {"network.router_input": "state"},
    "d2r-concat-routing": {"network.router_input": "concat"},
    "d2r-hard": {"network.top_k": 1},
    "d2r-top4": {"network.top_k": 4},
    "d2r-soft": {"network.top_k": None},
    "d2r-n4": {"network.num_modules": 4},
    "d2r-n8": {"network.num_modules": 8},
    "d2r-n24": {"network.num_modules": 24},
    "d2r-no-residual": {"network.residual": False},
    "d2r-fixed-depth": {"network.router": "none", "sac.route_balancing": False},
    "d2r-random-route": {"network.router": "random"},
    "d2r-growing": {"network.num_modules": 24, "network.initial_modules": 4},
}
"""What the ablations of the paper and ours are about; another one is what its file says."""


VARIANTS = [name for name in method_ids() if load_method(name).kind == "variant"]
ROUTED = [name for name in VARIANTS if isinstance(load_method(name).network, RoutedConfig)]


def flat(method: Method) -> dict[str, Any]:
    return {f"network.{k}": v for k, v in method.network.model_dump().items()} | {
        f"sac.{k}": v for k, v in method.sac.model_dump().items()
    }


@pytest.mark.parametrize("method", DIFFERENCES)
def test_a_variant_differs_from_d2r_in_its_switches_alone(method: str) -> None:
    full, variant = flat(load_method("d2r")), flat(load_method(method))
    assert {k: variant[k] for k in variant if variant[k] != full[k]} == DIFFERENCES[method]


@pytest.mark.parametrize("method", VARIANTS)
def test_a_variant_differs_from_what_it_extends(method: str) -> None:
    parent = read_yaml(config_folder("methods") / f"{method}.yaml").get("extends")
    if parent is not None:
        assert flat(load_method(parent)) != flat(load_method(method))


@pytest.mark.parametrize("method", ROUTED)
def test_resrouting_changes_gradients_and_no_value(method: str) -> None:
    built = network(method)
    rule = sampled(built) if built.num_logits else DETERMINISTIC
    training = built.train()(states(), rule).value
    evaluating = built.eval()(states(), rule).value
    assert torch.equal(training, evaluating)


def fix_logits(built: D2RNetwork, logits: list[float]) -> None:
    """Let the router give these logits in every state and task."""
    assert built.router is not None
    last = built.router[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor(logits))


def module_gradients(built: D2RNetwork, rule: Any, train: bool) -> Tensor:
    built.train(train).zero_grad()
    built(states(), rule).value.square().sum().backward()
    assert built.module_weight.grad is not None
    return built.module_weight.grad.clone()


@pytest.mark.parametrize(
    ("method", "restricted"),
    [("d2r", True), ("d2r-resrouting-target", True), ("d2r-no-resrouting", False), ("d2r-naive", False)],
)
def test_which_variants_restrict_gradients(method: str, restricted: bool) -> None:
    built = network(method)
    rule = sampled(built)
    same = torch.allclose(module_gradients(built, rule, True), module_gradients(built, rule, False))
    assert same != restricted


def test_target_and_threshold_call_different_sources_unsuitable() -> None:
    one, other = network("d2r"), network("d2r-resrouting-target")
    other.load_state_dict(one.state_dict())
    rule = sampled(one)
    by_threshold, by_target = one(states(), rule).route, other(states(), rule).route
    assert by_threshold is not None
    assert by_target is not None
    assert torch.equal(by_threshold.sources, by_target.sources)
    assert not torch.equal(by_threshold.suitable, by_target.suitable)
    best = one(states(), DETERMINISTIC).route
    assert best is not None
    among_best = (by_target.sources.unsqueeze(-1) == best.sources.unsqueeze(-2)).any(-1)
    assert torch.equal(by_target.suitable, among_best)


def test_a_blocked_module_gets_exactly_no_gradient() -> None:
    """N = 3, K = 1: the replayed route lets the output read module 2, the router would now have it read module 1.

    Then module 2's own weights get exactly zero, and without ResRouting they do not; its shortcut still
    reaches module 1.
    """
    built = network("d2r", num_modules=3, top_k=1)
    fix_logits(built, [0.0, 0.0, 0.0, 10.0, -10.0, -10.0])
    sources = torch.tensor([[0], [0], [1]]).expand(1, BATCH, TASKS, 3, 1)
    restricted = module_gradients(built, Replayed(sources), True)
    free = module_gradients(built, Replayed(sources), False)
    assert torch.equal(restricted[0, 0], torch.zeros_like(restricted[0, 0]))
    assert free[0, 0].abs().max() > 0
    assert torch.equal(restricted[0, 1], torch.zeros_like(restricted[0, 1]))
    built.train().zero_grad()
    built(states(), Replayed(sources)).value.square().sum().backward()
    assert built.first_module.weight.grad is not None
    assert built.first_module.weight.grad.abs().max() > 0, (
        "the shortcut of the blocked module still reaches module 1"
    )


def test_the_shortcut_of_a_reader_is_never_blocked() -> None:
    """N = 3, K = 1: module 3 reads module 2, which does not suit it, and the output reads module 3.

    As in the official code, what module 3 computes gives module 2 no gradient, and its shortcut gives it all.
    """
    built = network("d2r", num_modules=3, top_k=1)
    fix_logits(built, [0.0, 10.0, -10.0, -10.0, -10.0, 10.0])
    sources = torch.tensor([[0], [1], [2]]).expand(1, BATCH, TASKS, 3, 1)
    restricted = module_gradients(built, Replayed(sources), True)
    free = module_gradients(built, Replayed(sources), False)
    assert restricted[0, 0].abs().max() > 0
    assert (restricted[0, 0] - free[0, 0]).abs().max() > 0
    with torch.no_grad():
        built.module_weight[0, 1].zero_()  # module 3 computes nothing of what it reads any more
    restricted, free = (module_gradients(built, Replayed(sources), on) for on in (True, False))
    assert torch.equal(restricted[0, 0], free[0, 0])


@pytest.mark.parametrize("method", ["d2r-task-routing", "d2r-state-routing", "d2r", "d2r-concat-routing"])
def test_what_the_router_sees(method: str) -> None:
    built = network(method)
    same_state = states()[:, :, :1].expand(-1, -1, TASKS, -1)
    route = built(same_state).route
    assert route is not None
    across_tasks = not torch.allclose(route.logits[0, :, 0], route.logits[0, :, 1], atol=1e-5)
    across_states = not torch.allclose(route.logits[0, 0], route.logits[0, 1], atol=1e-5)
    assert across_tasks == (method != "d2r-state-routing")
    assert across_states == (method != "d2r-task-routing")


@pytest.mark.parametrize(("method", "k"), [("d2r-hard", 1), ("d2r", 2), ("d2r-top4", 4), ("d2r-soft", 16)])
def test_sources_per_module(method: str, k: int) -> None:
    route = network(method)(states()).route
    assert route is not None
    taken = (route.weights > 0).sum(-1)[0, 0, 0]
    assert taken.tolist() == [min(k, c) for c in range(1, 17)]
    assert torch.allclose(route.weights.sum(-1), torch.ones(()))


def test_with_one_source_a_module_the_router_learns_nothing() -> None:
    """The softmax over one chosen logit is 1 whatever the logit is; ``d2r-hard`` says so."""
    built = network("d2r-hard").train()
    built(states(), sampled(built)).value.square().sum().backward()
    gradients = {
        name: p.grad for name, p in built.named_parameters() if name.startswith(("router", "task_encoder"))
    }
    assert gradients
    assert not any(gradient is not None and gradient.any() for gradient in gradients.values())
    assert built.module_weight.grad is not None
    assert built.module_weight.grad.any()


def test_no_residual_leaves_out_the_shortcut_alone() -> None:
    with_shortcut, without = network("d2r"), network("d2r-no-residual")
    without.load_state_dict(with_shortcut.state_dict())
    a, b = with_shortcut(states()), without(states())
    assert a.route is not None
    assert b.route is not None
    assert torch.equal(a.route.logits, b.route.logits)
    assert not torch.allclose(a.value, b.value)


def test_fixed_depth_uses_every_module_and_has_no_router() -> None:
    built = network("d2r-fixed-depth")
    assert not [name for name, _ in built.named_parameters() if name.startswith("router")]
    x = states()
    state = built.state_encoder[1](built.state_encoder[0](x).relu())
    assert built.task_encoder is not None
    h = built.first_module((built.task_encoder() * state).relu()).relu()
    for weight, bias in zip(built.module_weight[0], built.module_bias[0], strict=True):
        h = (h @ weight.T + bias).relu() + h
    assert torch.allclose(built(x).value, built.head(h), atol=1e-6)


def test_random_routes_are_uniform_in_training_and_fixed_in_evaluation() -> None:
    built = network("d2r-random-route")
    first, second = built(states(1)).route, built(states(7)).route
    assert first is not None
    assert second is not None
    assert torch.equal(first.sources, second.sources)
    assert (first.sources[0, 0] == first.sources[0, 1]).all()
    assert not torch.equal(first.sources[0, 0, 0], first.sources[0, 0, 1]), "each task has a route of its own"
    counts = torch.zeros(16)
    for seed in range(150):
        route = built(states(), sampled(built, seed)).route
        assert route is not None
        counts += torch.bincount(route.sources[..., -1, :].flatten(), minlength=16)
    assert chisquare(counts.numpy()).pvalue > 1e-3


def test_growing_starts_small_and_grows_one_module_at_a_time() -> None:
    built = network("d2r-growing")
    for modules in (4, 5, 6):
        for rule in (DETERMINISTIC, sampled(built)):
            route = built(states(), rule).route
            assert route is not None
            assert route.sources.max() < modules
        built.train().zero_grad()
        built(states()).value.square().sum().backward()
        assert built.module_weight.grad is not None
        assert built.module_weight.grad[0, modules - 1 :].abs().max() == 0
        assert built.grow()
    other = network("d2r-growing", seed=5)
    other.load_state_dict(built.state_dict())
    assert other.in_use == 7
    assert torch.equal(other(states()).value, built(states()).value)
    while built.grow():
        pass
    assert built.in_use == 24
    route = built(states()).route
    assert route is not None
    assert route.sources.max() > 7


def learner(method: str) -> MultiTaskSAC:
    chosen = load_method(method)
    config = chosen.network.model_copy(update=SMALL)
    generator = torch.Generator().manual_seed(0)
    return MultiTaskSAC(
        build_actor(config, TASKS, generator), build_critics(config, TASKS, generator), chosen.sac
    )


@pytest.mark.parametrize(
    ("method", "replayed"),
    [("d2r", True), ("d2r-no-resrouting", True), ("d2r-target-route", False), ("d2r-naive", False)],
)
def test_route_in_the_policy_loss(method: str, replayed: bool) -> None:
    draws = learner(method).draw(batch(stored=True), [torch.Generator().manual_seed(1)])
    assert isinstance(draws.actor_rule, Replayed) == replayed
    assert isinstance(draws.critic_rule, Sampled), "the critics draw their routes anew in every variant"


@pytest.mark.parametrize(
    ("method", "balanced"),
    [("d2r", True), ("d2r-target-route", True), ("d2r-no-balance", False), ("d2r-naive", False)],
)
def test_route_temperature_follows_alpha_only_with_balancing(method: str, balanced: bool) -> None:
    sac = learner(method)
    with torch.no_grad():
        sac.log_alpha.copy_(torch.tensor([0.0, -1.0, -3.0]))
    (tau,) = sac.route_temperature
    if balanced:
        expected = 1 / sac.alpha[0]
        assert torch.allclose(tau, 3 * expected / expected.sum())
        assert tau[2] > tau[1] > tau[0], "the least mastered task explores routes most"
    else:
        assert torch.equal(tau, torch.ones(3))


def test_temperature_moves_choices_and_never_weights() -> None:
    built = network("d2r")
    cold = built(states(), sampled(built)).route
    hot = built(states(), Sampled(torch.full((1, TASKS), 50.0), sampled(built).gumbel)).route
    assert cold is not None
    assert hot is not None
    assert not torch.equal(hot.sources, cold.sources)
    again = built(states(), Replayed(hot.sources)).route
    assert again is not None
    assert torch.equal(again.weights, hot.weights)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_sampling_has_the_exact_distribution_without_replacement(temperature: float) -> None:
    """Chi-square over all ordered pairs of one group, against successive draws from the tempered softmax."""
    config = RoutedConfig(num_modules=4, **SMALL)
    built = build_actor(config, 1, torch.Generator().manual_seed(0))
    assert isinstance(built, D2RNetwork)
    values = torch.tensor([0.7, -0.4, 0.1, 1.1])
    logits = torch.cat([torch.zeros(6), values]).view(1, 10, 1)
    draws = 40_000
    gumbel = -torch.empty(1, draws, 1, 10).exponential_(generator=torch.Generator().manual_seed(5)).log()
    rule = Sampled(torch.tensor([[temperature]]), gumbel)
    pairs = built.choice.choose(logits.expand(1, 10, draws), rule, draws)[0, 3].T
    p = (values / temperature).softmax(0)
    expected, observed = [], []
    for first in range(4):
        for second in range(4):
            if first != second:
                expected.append(float(p[first] * p[second] / (1 - p[first])) * draws)
                observed.append(int(((pairs[:, 0] == first) & (pairs[:, 1] == second)).sum()))
    assert sum(observed) == draws
    total = sum(expected)
    assert chisquare(observed, [e * draws / total for e in expected]).pvalue > 1e-3
