"""Every architecture equals its slow, obvious form, and keeps apart what has to be apart."""

from __future__ import annotations

import pytest
import torch

from d2r.config.networks import network_classes
from d2r.networks.maker import Maker
from d2r.networks.parts import OfTasks, tensors_by_task
from d2r.networks.registry import CRITIC, architecture_of, build_actor, shape_actor

from .references import FORMS, SMALL, find_references, module_of_test
from .small import BATCH, TASKS, generator, observations, small_actor, small_critics, spread

WITHOUT = find_references()
EVERY_ARCHITECTURE = pytest.mark.parametrize("config", SMALL.values(), ids=SMALL.keys())


@pytest.mark.parametrize("network", network_classes())
def test_there_is_a_slow_form(network):
    file = f"{module_of_test(network).replace('.', '/')}.py"
    assert network not in WITHOUT, (
        f"network type '{network}' has no slow, obvious reference: write a function (network, x, task) that computes "
        f"the output for one sample of one task, marked with @reference(A_SMALL_CONFIGURATION) of "
        f"tests/networks/references.py, in {file}"
    )


def slow_form(config, network, x):
    """[batch, task, outputs] of an ensemble of one, one sample of one task at a time."""
    rows = [[FORMS[config.type](network, x[0, b, t], t) for t in range(TASKS)] for b in range(BATCH)]
    return torch.stack([torch.stack(row) for row in rows])


@EVERY_ARCHITECTURE
def test_equals_its_slow_obvious_form(config):
    actor, x = spread(small_actor(config)), observations()
    torch.testing.assert_close(actor(x).value[0], slow_form(config, actor, x), rtol=1e-9, atol=1e-9)


@EVERY_ARCHITECTURE
def test_gradients_equal_those_of_its_slow_obvious_form(config):
    actor, x = spread(small_actor(config)), observations()
    probe = torch.randn(BATCH, TASKS, 8, generator=generator(3), dtype=torch.float64)
    (actor(x).value[0] * probe).sum().backward()
    got = {name: p.grad.clone() for name, p in actor.named_parameters()}
    actor.zero_grad()
    sum(
        (FORMS[config.type](actor, x[0, b, t], t) * probe[b, t]).sum()
        for b in range(BATCH)
        for t in range(TASKS)
    ).backward()
    for name, parameter in actor.named_parameters():
        torch.testing.assert_close(got[name], parameter.grad, rtol=1e-7, atol=1e-9, msg=name)


@EVERY_ARCHITECTURE
def test_twin_critics_are_two_separate_networks(config):
    critics, x = small_critics(config), observations(43)
    value = critics(x).value
    assert value.shape == (2, BATCH, TASKS, 1)
    assert not torch.equal(value[0], value[1])
    names, parameters = zip(*critics.named_parameters(), strict=True)
    for own, other in ((0, 1), (1, 0)):
        gradients = torch.autograd.grad(value[own].sum(), parameters, retain_graph=True)
        for name, parameter, gradient in zip(names, parameters, gradients, strict=True):
            assert parameter.shape[0] == 2, name
            assert gradient[own].any(), name
            assert not gradient[other].any(), name


@EVERY_ARCHITECTURE
def test_each_critic_equals_the_slow_form_with_its_own_parameters(config):
    critics, x = spread(small_critics(config)), observations(43)
    value = critics(x).value
    for member in range(2):
        alone = architecture_of(config)(config, Maker(*CRITIC, TASKS, 1, generator())).double()
        alone.load_state_dict({name: v[member : member + 1] for name, v in critics.state_dict().items()})
        torch.testing.assert_close(value[member], slow_form(config, alone, x), rtol=1e-9, atol=1e-9)


@EVERY_ARCHITECTURE
def test_a_sample_sees_its_own_row_and_task_only(config):
    actor, x = spread(small_actor(config)), observations().requires_grad_()
    actor(x).value[0, 1, 2].sum().backward()
    touched = x.grad[0].abs().sum(-1) > 0
    expected = torch.zeros(BATCH, TASKS, dtype=torch.bool)
    expected[1, 2] = True
    assert torch.equal(touched, expected)


@EVERY_ARCHITECTURE
def test_same_seed_same_network_and_another_seed_another(config):
    first, again, other = (dict(small_actor(config, seed).named_parameters()) for seed in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@EVERY_ARCHITECTURE
def test_task_axis_is_declared_exactly_where_nothing_is_shared(config):
    actor = small_actor(config)
    assert actor.task_axis == (1 if config.type == "independent" else None)
    if actor.task_axis is not None:
        assert all(p.shape[actor.task_axis] == TASKS for p in actor.parameters())


@EVERY_ARCHITECTURE
def test_what_is_of_single_tasks_is_declared_exactly(config):
    """It is what grows with the number of tasks, at the end of the axis that does."""
    for_more = config
    if getattr(config, "task_embeddings", None) is not None:
        embeddings = config.task_embeddings
        for_more = config.model_copy(update={"task_embeddings": (*embeddings, embeddings[0])})
    few, more = shape_actor(config, TASKS).state_dict(), shape_actor(for_more, TASKS + 1).state_dict()
    grown = {}
    for name in few:
        sizes = enumerate(zip(few[name].shape, more[name].shape, strict=True))
        axes = [axis for axis, (size, size_of_more) in sizes if size != size_of_more]
        if axes:
            grown[name] = OfTasks(axes[0], few[name].shape[axes[0]] - TASKS)
            assert len(axes) == 1
    assert tensors_by_task(shape_actor(config, TASKS)) == grown, (
        f"network type '{config.type}' must say by `by_task` which of its own tensors have entries for single tasks"
    )


@EVERY_ARCHITECTURE
def test_its_output_comes_from_what_it_says_puts_out(config):
    """Without these layers there is no output, and what they hold routes nothing."""
    actor = spread(small_actor(config))
    with torch.no_grad():
        for layer in actor.output_layers:
            for parameter in layer.parameters():
                parameter.zero_()
    assert not actor(observations()).value.any()
    of_router = {id(p) for layer in actor.routing_layers for p in layer.parameters()}
    assert not of_router & {id(p) for layer in actor.output_layers for p in layer.parameters()}


@EVERY_ARCHITECTURE
def test_plans_know_the_routes_that_are_kept(config):
    assert config.route_shape == small_actor(config).route_shape


@EVERY_ARCHITECTURE
def test_the_forms_of_its_tensors_are_known_without_memory_for_them(config):
    """As a published policy is checked against them before it is loaded."""
    forms = shape_actor(config, TASKS).state_dict()
    real = build_actor(config, TASKS, torch.Generator()).state_dict()
    assert {name: (t.shape, t.dtype) for name, t in forms.items()} == {
        name: (t.shape, t.dtype) for name, t in real.items()
    }
