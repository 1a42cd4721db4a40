"""The method on one page against the network that trains: same parameters, same values, same routes, same gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from d2r.config.networks import RoutedConfig
from d2r.kernel import library
from d2r.networks.d2r.levels import D2RNetwork
from d2r.networks.d2r.plain import PlainD2R
from d2r.networks.d2r.route_graph import edges
from d2r.networks.maker import Maker
from d2r.networks.routing import DETERMINISTIC, Replayed, Sampled
from d2r.verify import golden, reproduce

from .small import generator, spread

INPUTS, OUTPUTS, TASKS, BATCH = 6, 3, 2, 3
GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.npz"))
SIZES = {"module_dim": 5, "encoder_dim": 7, "router_dim": 6}


def build(network, config, ensemble=2, seed=0):
    return network(config, Maker(INPUTS, OUTPUTS, TASKS, ensemble, generator(seed))).double()


def draw_rule(kind, network, seed):
    """A rule of this kind; what is replayed was drawn, so that it holds sources which are unsuitable."""
    if kind == "deterministic":
        return DETERMINISTIC
    shape = (network.ensemble, BATCH, TASKS, network.num_logits)
    gumbel = -torch.empty(shape, dtype=torch.float64).exponential_(generator=generator(seed)).log()
    sampled = Sampled(torch.tensor([[0.5, 3.0]], dtype=torch.float64), gumbel)
    if kind == "sampled":
        return sampled
    return Replayed(network(observe(seed), sampled).route.sources[:1].to(torch.uint8))


def observe(seed):
    return torch.randn(1, BATCH, TASKS, INPUTS, generator=generator(seed + 1), dtype=torch.float64)


def everything(network, x, rule):
    """Value, route and the gradients of parameters and input."""
    x = x.clone().requires_grad_()
    value, route = network(x, rule)
    probe = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view_as(value)
    named = dict(network.named_parameters())
    gradients = torch.autograd.grad((value * probe).sum(), [x, *named.values()])
    return {"value": value, **dict(zip(["input", *named], gradients, strict=True))}, route


def suitable_edges(route):
    """[..., target, module] whether the module is read and suits."""
    nothing = torch.zeros(route.logits.shape)
    return nothing.scatter_add(-1, route.sources, (route.suitable & (route.weights > 0)).float())


@pytest.fixture(params=["compiled", "operators"])
def implementation(request):
    if request.param == "compiled" and library.implementation() != "compiled":
        pytest.skip("the library is not built, or switched off")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "operators":
            patch.setattr(library, "functions", lambda _: None)
        yield


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_network_that_trains_computes_what_the_page_says(implementation, data):
    modules = data.draw(st.integers(2, 6), "modules")
    top_k = data.draw(st.sampled_from([None, *range(1, min(modules, 3) + 1)]), "top_k")
    config = RoutedConfig(num_modules=modules, top_k=top_k, **SIZES)
    seed = data.draw(st.integers(0, 2**31), "seed")
    training = data.draw(st.booleans(), "training")
    fast, plain = (
        spread(build(D2RNetwork, config), seed).train(training),
        build(PlainD2R, config).train(training),
    )
    plain.load_state_dict(fast.state_dict())
    rule = draw_rule(
        data.draw(st.sampled_from(["deterministic", "sampled", "replayed"]), "rule"), plain, seed
    )
    got, got_route = everything(fast, observe(seed), rule)
    expected, route = everything(plain, observe(seed), rule)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-9, atol=1e-10, msg=name)
    torch.testing.assert_close(edges(got_route), edges(route), rtol=1e-9, atol=1e-12)
    assert torch.equal(suitable_edges(got_route), suitable_edges(route))
    torch.testing.assert_close(got_route.logits, route.logits, rtol=1e-9, atol=1e-10)


def test_both_start_from_the_same_parameters_under_the_same_names():
    config = RoutedConfig(num_modules=4, **SIZES)
    fast, plain = build(D2RNetwork, config).state_dict(), build(PlainD2R, config).state_dict()
    assert list(fast) == list(plain)
    assert all(torch.equal(fast[name], plain[name]) for name in fast)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_an_official_update_is_reproduced_by_the_page(path, monkeypatch):
    for module in (golden, reproduce):
        monkeypatch.setattr(module, "D2RNetwork", PlainD2R)
    assert max(comparison.error for comparison in golden.verify_file(path)) <= golden.TOLERANCE


@pytest.mark.parametrize("switch", [{"residual": False}, {"resrouting": "off"}, {"router": "none"}])
def test_a_variant_is_not_on_the_page(switch):
    with pytest.raises(TypeError, match="variants are switches"):
        build(PlainD2R, RoutedConfig(**SIZES, **switch))
