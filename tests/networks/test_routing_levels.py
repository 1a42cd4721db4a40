"""Routing at layer and at model level: the same routes, rules and gradients as D2R, on another graph."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from d2r.config import resolve_network
from d2r.config.networks import RoutedLayerConfig, RoutedModelConfig
from d2r.networks.d2r import route_graph
from d2r.networks.registry import build_actor, build_critics
from d2r.networks.routing import DETERMINISTIC, Replayed, Sampled

from .level_references import parameters_of, routed_value

TASKS, BATCH = 2, 5
SIZES = {"module_dim": 6, "encoder_dim": 9, "router_dim": 7}
LAYER = RoutedLayerConfig(num_modules=12, num_layers=4, **SIZES)
MODEL = RoutedModelConfig(num_modules=12, num_models=4, **SIZES)
BOTH = pytest.mark.parametrize("config", [LAYER, MODEL], ids=["layer", "model"])
CHANGES = (
    {},
    {"residual": False},
    {"resrouting": "target"},
    {"resrouting": "off"},
    {"top_k": None},
    {"top_k": 1},
)
VARIANTS = pytest.mark.parametrize(
    "config",
    [base.model_copy(update=changes) for base in (LAYER, MODEL) for changes in CHANGES],
    ids=lambda config: f"{config.type}-{config.residual}-{config.resrouting}-{config.top_k}",
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def actor_of(config, seed=0):
    """An actor whose routing logits are well spread, so that some sources are unsuitable."""
    actor = build_actor(config, TASKS, generator(seed)).double()
    with torch.no_grad():
        for parameter in actor.parameters():
            parameter.copy_(
                0.5 * torch.randn(parameter.shape, generator=generator(seed + 1), dtype=torch.float64)
            )
    return actor


def observations():
    return torch.randn(1, BATCH, TASKS, 39, generator=generator(2), dtype=torch.float64)


def sampled(network, temperature=1.0, seed=3):
    shape = (network.ensemble, BATCH, TASKS, network.num_logits)
    gumbel = -torch.empty(shape, dtype=torch.float64).exponential_(generator=generator(seed)).log()
    return Sampled(torch.full((1, TASKS), temperature, dtype=torch.float64), gumbel)


def test_numbers_of_logits_are_the_official_ones():
    layer = build_actor(resolve_network("d2r-layer", "mt10"), 10, generator())
    model = build_actor(resolve_network("d2r-model", "mt10"), 10, generator())
    assert layer.num_logits == 4 * ((4 - 1) * 4 + 1)
    assert model.num_logits == 4
    assert layer.route_shape == model.route_shape == (16, 2)


@VARIANTS
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_values_and_gradients_equal_the_slow_form(config, training):
    actor, x = actor_of(config).train(training), observations()
    output = actor(x, sampled(actor))
    restrict = training and config.resrouting != "off"
    probe = torch.randn(BATCH, TASKS, 8, generator=generator(4), dtype=torch.float64)
    parameters = dict(actor.named_parameters())
    sources, weights, suitable, _ = output.route
    slow = torch.stack(
        [
            torch.stack(
                [
                    routed_value(
                        actor, x[0, b, t], (sources[0, b, t], weights[0, b, t], suitable[0, b, t]), restrict
                    )
                    for t in range(TASKS)
                ]
            )
            for b in range(BATCH)
        ]
    )
    torch.testing.assert_close(output.value[0], slow)
    fast_gradient = torch.autograd.grad(
        (output.value[0] * probe).sum(), parameters.values(), retain_graph=True
    )
    slow_gradient = torch.autograd.grad((slow * probe).sum(), parameters.values())
    for name, fast, expected in zip(parameters, fast_gradient, slow_gradient, strict=True):
        torch.testing.assert_close(fast, expected, msg=name)


@BOTH
def test_resrouting_changes_gradients_and_no_value(config):
    actor, x = actor_of(config), observations()
    off = actor_of(config.model_copy(update={"resrouting": "off"}))
    rule = sampled(actor)
    restricted, free = actor.train()(x, rule), off.train()(x, rule)
    assert not restricted.route.suitable.all()
    torch.testing.assert_close(restricted.value, free.value)
    restricted.value.sum().backward()
    free.value.sum().backward()
    assert any(
        not torch.allclose(a.grad, b.grad)
        for a, b in zip(actor.layers.parameters(), off.layers.parameters(), strict=True)
    )


@BOTH
def test_an_evaluation_during_training_is_the_one_of_the_published_policy(config):
    actor = actor_of(config).float()
    x = observations().float()
    with torch.no_grad():
        assert torch.equal(actor.train()(x).value, actor.eval()(x).value)


@BOTH
def test_a_source_is_suitable_by_the_official_threshold_or_by_the_current_top_k(config):
    choice = actor_of(config).choice
    of_output = choice.exists[-1].nonzero().flatten()
    candidates = len(of_output)
    uneven = {3: [0.5, 0.3, 0.2], 4: [0.5, 0.3, 0.19, 0.01]}[candidates]  # below a fourth, below a fifth

    def suitable(resrouting, shares, places):
        """Which sources of the output, by their places among its candidates, are suitable; one row."""
        choice = actor_of(config.model_copy(update={"resrouting": resrouting})).choice
        logits = torch.zeros(1, choice.num_logits, 1)
        logits[0, -candidates:, 0] = torch.tensor(shares).log()
        sources = choice.choose(logits, DETERMINISTIC, 1)
        sources[0, -1, :, 0] = of_output[places]
        return choice.suitable(logits, sources)[0, -1, :, 0].tolist()

    assert suitable("threshold", uneven, [0, 2]) == [True, False]
    assert suitable("threshold", [1 / candidates] * candidates, [0, 2]) == [True, True]
    assert suitable("target", uneven, [0, 2]) == [True, False]
    assert suitable("target", uneven, [1, 0]) == [True, True]


def test_an_unsuitable_chain_gets_exactly_no_gradient():
    actor, x = actor_of(MODEL).train(), observations()
    output = actor(x, Replayed(actor(x).route.sources))
    sources, _, suitable, _ = (part[0, :, :, -1] for part in output.route)
    trained = {int(s) // 3 for s, fine in zip(sources.flatten(), suitable.flatten(), strict=True) if fine}
    assert 0 < len(trained) < 4, "the case must have chains of both kinds"
    output.value.sum().backward()
    for layer in actor.layers:
        for chain in range(4):
            assert bool(layer.weight.grad[0, chain].any()) == (chain in trained)


@BOTH
def test_groups_read_what_they_may(config):
    actor = actor_of(config)
    sources, weights, _, logits = actor(observations(), sampled(actor)).route
    modules = config.num_modules
    assert sources.shape == (1, BATCH, TASKS, modules, 2)
    assert logits.shape == (1, BATCH, TASKS, modules, modules)
    size = 3
    for group in range(modules):
        module = group + 1
        read = sources[0, :, :, group]
        share = weights[0, :, :, group]
        if config.type == "routed-layer":
            has_choice = module >= size
            valid = range((module // size - 1) * size, module // size * size)
        else:
            has_choice = module == modules
            valid = range(size - 1, modules, size)
        if has_choice:
            assert set(read.flatten().tolist()) <= set(valid)
            assert (read[..., 0] != read[..., 1]).all()
            torch.testing.assert_close(share.sum(-1), torch.ones_like(share.sum(-1)))
            assert torch.isfinite(logits[0, 0, 0, group]).nonzero().flatten().tolist() == list(valid)
        else:
            assert torch.isfinite(logits[0, 0, 0, group]).sum() == 1
            inside_chain = config.type == "routed-model" and module % size != 0
            assert share[..., 0].eq(1.0 if inside_chain else 0.0).all()
            assert not share[..., 1].any()
            if inside_chain:
                assert read.eq(module - 1).all()


@BOTH
def test_a_replayed_route_is_taken_and_reweighted_by_current_logits(config):
    actor, x = actor_of(config), observations()
    stored = actor(x, sampled(actor)).route.sources.to(torch.uint8)
    later = actor_of(config, seed=9)
    route = later(x, Replayed(stored)).route
    assert torch.equal(route.sources, stored.long())
    scores = route.logits.gather(-1, route.sources)
    chosen = route.weights[..., -1, :]
    torch.testing.assert_close(chosen, scores[..., -1, :].softmax(-1))
    critics = build_critics(config, TASKS, generator()).double()
    twins = critics(torch.zeros(1, BATCH, TASKS, 43, dtype=torch.float64), Replayed(stored))
    assert torch.equal(twins.route.sources, stored.long().expand(2, -1, -1, -1, -1))


@BOTH
def test_sampling_follows_the_tempered_softmax(config):
    """The first draw of the output group against its exact distribution, by chi-square."""
    actor = actor_of(config)
    x = observations()[:, :1].expand(-1, 4000, -1, -1)
    source = generator(6)
    temperature = torch.tensor([0.7, 2.0], dtype=torch.float64)
    shape = (1, 4000, TASKS, actor.num_logits)
    gumbel = -torch.empty(shape, dtype=torch.float64).exponential_(generator=source).log()
    route = actor(x, Sampled(temperature.unsqueeze(0), gumbel)).route
    for task in range(TASKS):
        logits = route.logits[0, 0, task, -1]
        expected = 4000 * (logits / temperature[task]).softmax(-1)
        drawn = torch.bincount(route.sources[0, :, task, -1, 0], minlength=config.num_modules)
        present = expected > 0
        assert drawn[~present].sum() == 0
        chi_square = ((drawn - expected)[present] ** 2 / expected[present]).sum()
        assert chi_square < 20


@BOTH
def test_soft_routing_stores_no_route(config):
    soft = actor_of(config.model_copy(update={"top_k": None}))
    assert soft.route_shape is None
    hard = actor_of(config)
    assert not torch.allclose(soft(observations()).value, hard(observations(), DETERMINISTIC).value)


def test_modules_must_fill_the_layers_or_chains():
    with pytest.raises(ValidationError, match="multiple of num_layers"):
        RoutedLayerConfig(num_modules=16, num_layers=3)
    with pytest.raises(ValidationError, match="multiple of num_models"):
        RoutedModelConfig(num_modules=16, num_models=5)


@BOTH
def test_instruments_see_the_modules(config):
    """Modules used, depth, gradients by module and multiply-adds, on the route conventions of D2R."""
    actor, x = actor_of(config).train(), observations()
    output = actor(x)
    edge = route_graph.edges(output.route)[0]
    used = route_graph.used_modules(edge)
    size = 3
    assert (route_graph.depth(edge) == (4 if config.type == "routed-layer" else size)).all()
    parameters = actor.module_parameters()
    value = actor.eval()(x).value[0, 0, 0].sum()
    of_module = actor.by_module(torch.autograd.grad(value, parameters))
    assert of_module.shape[0] == config.num_modules
    assert not of_module[~used[0, 0]].any(), "an unused module has no influence"
    for module in range(config.num_modules):
        weight, bias = parameters_of(actor, module)
        assert of_module[module].count_nonzero() <= weight.numel() + bias.numel()
    if config.type == "routed-model":
        assert (used.sum(-1) == 2 * size).all()
        chains, inside = 2 * (9 * 6 + 2 * 6 * 6), 2 * 6
        outside = 39 * 9 + 9 * 9 + 9 * 7 + 7 * 7 + 7 * 4 + 6 * 8
        assert (actor.multiply_adds(edge) == outside + chains + inside).all()
    else:
        first, later = used[..., :size].sum(-1), used[..., size:].sum(-1)
        outside = 39 * 9 + 9 * 9 + 9 * 7 + 7 * 7 + 7 * actor.num_logits + 6 * 8
        expected = outside + first * 9 * 6 + later * (6 * 6 + 2 * 6) + 2 * 6
        assert torch.equal(actor.multiply_adds(edge), expected)
