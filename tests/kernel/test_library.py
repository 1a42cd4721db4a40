"""The compiled library against PyTorch's operators, in each version that this processor can run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from d2r.config.networks import RoutedConfig
from d2r.errors import UserError
from d2r.kernel import library
from d2r.networks.d2r.levels import D2RNetwork
from d2r.networks.layers import StackedLinear, StateTaskLinear, run_chain
from d2r.networks.maker import Maker
from d2r.networks.routing import DETERMINISTIC, Replayed, RouteRule, Sampled
from tests.support.compiled import BUILT, EXACT, both, gradients

pytestmark = pytest.mark.skipif(not BUILT, reason="the library is not built: no C++ compiler")
repeated = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@repeated
@given(data=st.data())
def test_a_chain_of_layers_is_that_of_pytorch(served: Callable[[bool], None], data: st.DataObject) -> None:
    def size(name: str, most: int) -> int:
        return data.draw(st.integers(1, most), name)

    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31), "seed"))
    ensemble, batch, tasks = size("ensemble", 3), size("batch", 40), size("tasks", 4)
    widths = [size("width", 70) for _ in range(size("layers", 3) + 1)]
    layers: list[nn.Module] = [
        StackedLinear(ensemble, a, b, generator).double() for a, b in zip(widths, widths[1:], strict=False)
    ]
    if data.draw(st.booleans(), "first sees the task"):
        layers[0] = StateTaskLinear(ensemble, widths[0], tasks, widths[1], generator).double()
    members = data.draw(st.sampled_from([1, ensemble]), "members")

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    x = normal(members, batch, tasks, widths[0])
    scale = normal(ensemble, 1, tasks, widths[0]) if data.draw(st.booleans(), "scaled") else None
    relus = data.draw(st.booleans(), "relu_last"), data.draw(st.booleans(), "relu_first")
    parameters = [p for layer in layers for p in layer.parameters()]

    def compute() -> list[Tensor]:
        wanted = [x, *parameters, *([] if scale is None else [scale])]
        with torch.no_grad():
            without = run_chain(layers, x, *relus, scale)
        return [without, *gradients(run_chain(layers, x, *relus, scale), *wanted)]

    for ours, plain in both(served, compute):
        torch.testing.assert_close(ours, plain, **EXACT)


def network(**config: object) -> D2RNetwork:
    sizes = {"num_modules": 5, "module_dim": 8, "encoder_dim": 12, "router_dim": 10} | config
    generator = torch.Generator().manual_seed(0)
    return D2RNetwork(RoutedConfig(**sizes), Maker(6, 3, 4, 2, generator)).double()  # type: ignore[arg-type]


def rules(of: D2RNetwork, batch: int) -> Iterator[RouteRule]:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(2, batch, 4, of.num_logits, generator=generator, dtype=torch.float64)
    yield DETERMINISTIC
    temperature = torch.tensor([[0.5, 1.0, 2.0, 4.0], [3.0, 1.0, 0.2, 0.7]], dtype=torch.float64)
    yield Sampled(temperature[:1], noise)
    yield Sampled(temperature, noise)
    chosen = of(torch.randn(1, batch, 4, 6, generator=generator, dtype=torch.float64)).route
    assert chosen is not None
    yield Replayed(chosen.sources)
    yield Replayed(chosen.sources[1:].to(torch.uint8))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"top_k": 1},
        {"top_k": 3, "residual": False},
        {"router_input": "relu-product", "resrouting": "off"},
        {"router_input": "concat", "resrouting": "target"},
        {"top_k": None, "renormalise": False},
        {"initial_modules": 2, "num_modules": 6},
    ],
    ids=str,
)
def test_a_routed_network_is_that_of_pytorch(
    served: Callable[[bool], None], config: dict[str, object]
) -> None:
    served(False)
    built, batch = network(**config), 37
    x = torch.randn(1, batch, 4, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x.requires_grad_()
    for rule in list(rules(built, batch)):

        def compute(rule: RouteRule = rule) -> list[Tensor]:
            value, route = built(x, rule)
            parameters = [p for p in built.parameters() if p.requires_grad]
            probe = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view_as(value)
            of = torch.autograd.grad((value * probe).sum(), [x, *parameters], allow_unused=True)
            assert route is not None
            got = [value.detach(), route.sources, route.weights.detach(), route.suitable]
            return got + [torch.zeros(()) if g is None else g for g in of]

        for ours, plain in both(served, compute):
            torch.testing.assert_close(ours, plain, **EXACT)


@pytest.mark.parametrize("config", [{}, {"router_input": "relu-product", "residual": False}], ids=str)
def test_a_network_as_one_call_has_the_bits_of_its_parts(
    served: Callable[[bool], None], config: dict[str, object]
) -> None:
    served(True)
    whole, parts = network(**config), network(**config)
    parts.wiring = None
    assert whole.wiring is not None
    x = torch.randn(1, 37, 4, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for rule in rules(whole, 37):
        (one, route), (by_one, by_parts) = whole(x, rule), parts(x, rule)
        assert torch.equal(one, by_one)
        assert all(torch.equal(a, b) for a, b in zip(route, by_parts, strict=True))
        ours, theirs = (gradients(value, *of.parameters()) for value, of in ((one, whole), (by_one, parts)))
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_of_equal_logits_the_first_and_of_none_that_is_a_number_the_last_is_chosen(
    served: Callable[[bool], None],
) -> None:
    built = network()
    served(True)
    logits = torch.zeros(2, built.num_logits, 3, dtype=torch.float64)
    logits[0, 6:10, 1] = math.nan
    sources, weights, _ = built.choice.decide(logits, DETERMINISTIC, 1, restrict=False)
    assert sources[:, :, :, 0].tolist() == [[[0, 0], [0, 1], [0, 1], [0, 1], [0, 1]]] * 2
    assert sources[0, 3, 0, 1] == 3
    assert weights[0, 3, :, 1].isnan().all()
    assert not weights[1].isnan().any()


def test_threads_share_the_work_and_repeat_their_bits(level: str) -> None:
    functions = library.load(library.library(level), torch.float32)
    generator = torch.Generator().manual_seed(0)
    layers = [StackedLinear(2, 200, 200, generator) for _ in range(2)]
    x = torch.randn(2, 100, 10, 200, generator=generator, requires_grad=True)
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "functions", lambda _: functions)
        results = []
        for threads in (1, 2, 3, 3):
            torch.set_num_threads(threads)
            results.append(gradients(run_chain(layers, x), x, layers[0].weight, layers[0].bias))
        torch.set_num_threads(before)
    for one, three in zip(results[0], results[2], strict=True):
        torch.testing.assert_close(one, three, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(results[2], results[3], strict=True))
    assert torch.equal(results[0][0], results[1][0])


@pytest.mark.parametrize("switch", ["off", "on", "maybe"])
def test_the_switch(switch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library.functions.cache_clear()
    monkeypatch.setenv(library.SWITCH, switch)
    try:
        if switch == "maybe":
            with pytest.raises(UserError, match="D2R_KERNEL=maybe: must be on or off"):
                library.implementation()
        else:
            assert library.implementation() == {"off": "plain", "on": "compiled"}[switch]
        assert switch == "maybe" or library.implementation("cuda") == "plain"
    finally:
        library.functions.cache_clear()


def test_whoever_looks_at_operators_sees_pytorchs(served: Callable[[bool], None]) -> None:
    x = torch.zeros(1)
    served(True)
    assert library.serving(x) is not None
    assert library.serving(x.to(torch.bfloat16)) is None
    assert library.serving(x, x.double()) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert library.serving(x) is None
    with FlopCounterMode(display=False):
        assert library.serving(x) is None
