"""What a route uses, against walking every path."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2r.config.networks import RoutedConfig
from d2r.networks.d2r import route_graph
from d2r.networks.d2r.levels import D2RNetwork
from d2r.networks.registry import build_actor
from d2r.networks.routing import Route


def paths(reads: np.ndarray, module: int) -> list[list[int]]:
    """All chains of modules that end in ``module`` (group ``module - 1`` feeds it), by recursion."""
    if module == 0:
        return [[0]]
    chains = [
        chain + [module]
        for source in np.flatnonzero(reads[module - 1])
        for chain in paths(reads, int(source))
    ]
    return chains or [[module]]


def random_edges(count: int, density: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    edge = np.zeros((count, count))
    for group in range(count):
        taken = rng.random(group + 1) < density
        taken[rng.integers(group + 1)] = True
        edge[group, : group + 1] = taken * rng.random(group + 1)
    return edge


@given(count=st.integers(1, 6), density=st.floats(0, 1), seed=st.integers(0, 10_000))
@settings(max_examples=80)
def test_used_modules_and_depth_are_those_of_all_paths(count: int, density: float, seed: int) -> None:
    edge = random_edges(count, density, seed)
    reads = edge > 0
    ends = [chain for source in np.flatnonzero(reads[count - 1]) for chain in paths(reads, int(source))]
    used = {module for chain in ends for module in chain}
    tensor = torch.from_numpy(edge)
    assert set(route_graph.used_modules(tensor).nonzero().flatten().tolist()) == used
    assert float(route_graph.depth(tensor)) == max(len(chain) for chain in ends)


@given(count=st.integers(2, 6), seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_modules_that_are_not_used_do_not_matter(count: int, seed: int) -> None:
    """Scrambling an unused module's weights changes nothing; so skipping it is exact."""
    config = RoutedConfig(num_modules=count, module_dim=6, encoder_dim=8, router_dim=8, top_k=1)
    network = build_actor(config, 2, torch.Generator().manual_seed(seed))
    assert isinstance(network, D2RNetwork)
    with torch.no_grad():
        assert network.router is not None
        network.router[-1].bias.copy_(torch.randn(network.router[-1].bias.shape) * 3)
    x = torch.randn(1, 4, 2, 39, generator=torch.Generator().manual_seed(seed))
    before = network(x)
    assert before.route is not None
    used = route_graph.used_modules(route_graph.edges(before.route)).flatten(0, 2).any(0)
    with torch.no_grad():
        for module in range(1, count):
            if not used[module]:
                network.module_weight[:, module - 1] = torch.randn(6, 6) * 100
    assert torch.equal(network(x).value, before.value)


def test_similarity_of_routes() -> None:
    a, b = torch.zeros(2, 3, 3), torch.zeros(2, 3, 3)
    a[:, 2, 0] = 1.0
    b[0, 2, 0] = 1.0
    b[1, 2, 1] = 1.0
    assert route_graph.similarity(a, b).tolist() == [1.0, 0.0]
    b[1, 2, 0] = 1.0
    assert route_graph.similarity(a, b).tolist() == [1.0, 0.5]


def route(logits: list[float], sources: list[int], suitable: list[bool]) -> Route:
    """One transition, one group of real choice (after a group of one), K = 2."""
    count = len(logits)
    padded = torch.full((1, 1, 1, count, count), float("-inf"))
    for group in range(count):
        padded[..., group, : group + 1] = torch.tensor(logits[: group + 1])
    chosen = torch.zeros(1, 1, 1, count, 2, dtype=torch.long)
    chosen[..., count - 1, :] = torch.tensor(sources)
    return Route(chosen, torch.ones(chosen.shape), torch.tensor(suitable).expand(chosen.shape), padded)


def test_entropy_is_one_for_uniform_and_none_for_certain_routing() -> None:
    uniform, top1 = route_graph.entropy(route([0.0, 0.0, 0.0], [0, 1], [True, True]))
    assert uniform.item() == 1.0
    assert abs(top1.item() - (1 / 2 + 1 / 3) / 2) < 1e-6
    certain, top1 = route_graph.entropy(route([0.0, 100.0, 200.0], [0, 1], [True, True]))
    assert certain.item() < 1e-6
    assert top1.item() > 1 - 1e-6


def test_agreement_counts_common_sources_where_there_is_a_choice() -> None:
    current = route([0.0, 0.0, 0.0], [0, 2], [True, True])
    behaviour = torch.zeros(1, 1, 3, 2, dtype=torch.long)
    behaviour[..., 2, :] = torch.tensor([2, 1])
    assert route_graph.agreement(behaviour, current).item() == 0.5


def test_blocked_share() -> None:
    assert route_graph.blocked_share(route([0.0, 0.0, 0.0], [0, 1], [True, False])).item() == 0.5


def test_multiply_adds_of_the_whole_network_are_those_of_its_matrices() -> None:
    config = RoutedConfig(num_modules=4, module_dim=6, encoder_dim=8, router_dim=5, top_k=None)
    network = build_actor(config, 2, torch.Generator().manual_seed(0))
    assert isinstance(network, D2RNetwork)
    out = network(torch.randn(1, 1, 2, 39))
    assert out.route is not None
    counted = network.multiply_adds(route_graph.edges(out.route))
    matrices = 39 * 8 + 8 * 8 + 8 * 5 + 5 * 5 + 5 * 10 + 8 * 6 + 3 * 36 + 6 * 8
    mixing = network.top_k * 6 * 4
    assert counted.flatten().tolist() == [matrices + mixing] * 2
