"""The fast module stacks against the plain one: compiled, and PyTorch's with a CPU's way back and a GPU's."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from d2r.kernel import library
from d2r.networks.d2r import stack
from d2r.networks.d2r.choice import largest
from d2r.networks.d2r.readers import DenseReaders
from d2r.networks.d2r.stack import run_modules
from tests.networks.reference import dense_modules


def random_case(ensemble, batch, dim, groups, top_k, restricted, seed):
    """Random inputs; half of the sources of a group repeat, as they do where modules are scarce."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    candidates = torch.arange(1, groups + 1).view(-1, 1)
    scores = torch.rand(groups, ensemble * batch, groups, generator=generator)
    scores = scores.masked_fill((torch.arange(groups) >= candidates).unsqueeze(1), -1.0)
    sources = scores.topk(top_k, dim=-1).indices
    taken = sources < candidates.unsqueeze(1)
    sources = torch.where(taken, sources, candidates.unsqueeze(1) - 1)
    weights = torch.rand(sources.shape, generator=generator, dtype=torch.float64) * taken
    suitable = torch.rand(sources.shape, generator=generator) < 0.5
    tensors = (
        normal(ensemble, batch, dim),
        normal(ensemble, groups - 1, dim, dim),
        normal(ensemble, groups - 1, dim),
    )
    return (*tensors, sources, weights.requires_grad_(), suitable if restricted else None)


def value_and_gradients(run, case, residual):
    out = run(*case, residual)
    probe = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    wanted = [case[0], case[1], case[2], case[4]]
    return out, *torch.autograd.grad((out * probe).sum(), wanted)


@pytest.fixture(params=["compiled", "sorted", "dense"])
def way(request):
    """Which of the ways to compute a stack serves."""
    if request.param == "compiled" and library.implementation() != "compiled":
        pytest.skip("the library is not built, or switched off")
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "compiled":
            patch.setattr(library, "functions", lambda _: None)
        if request.param == "dense":
            patch.setattr(stack, "readers_of", DenseReaders)
        yield


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_equals_the_plain_module_stack(way, data):
    groups = data.draw(st.integers(2, 7), "modules")
    case = random_case(
        ensemble=data.draw(st.integers(1, 2), "ensemble"),
        batch=data.draw(st.integers(1, 6), "batch"),
        dim=data.draw(st.integers(1, 5), "dim"),
        groups=groups,
        top_k=data.draw(st.integers(1, groups), "top_k"),
        restricted=data.draw(st.booleans(), "resrouting"),
        seed=data.draw(st.integers(0, 2**31), "seed"),
    )
    residual = data.draw(st.booleans(), "residual")
    fast = value_and_gradients(run_modules, case, residual)
    for ours, plain in zip(fast, value_and_gradients(dense_modules, case, residual), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-11)


def test_without_gradients_the_value_is_the_same_bits(way):
    case = random_case(ensemble=2, batch=5, dim=4, groups=6, top_k=2, restricted=True, seed=0)
    with torch.no_grad():
        without = run_modules(*case, True)
    assert torch.equal(without, run_modules(*case, True))


def test_fixed_parameters_get_no_gradient_and_change_no_other(way):
    case = random_case(ensemble=2, batch=5, dim=4, groups=6, top_k=2, restricted=True, seed=1)
    free = value_and_gradients(run_modules, case, residual=True)
    first, weight, bias, sources, weights, suitable = case
    frozen = (first, weight.detach(), bias.detach(), sources, weights, suitable)
    out = run_modules(*frozen, True)
    probe = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    of_first, of_weights = torch.autograd.grad((out * probe).sum(), [first, weights])
    torch.testing.assert_close(of_first, free[1], rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(of_weights, free[4], rtol=1e-12, atol=1e-13)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 9), data=st.data())
def test_largest_is_topk(seed, count, data):
    k = data.draw(st.integers(1, count))
    scores = torch.randn(2, 3, count, 5, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(largest(scores, k), scores.topk(k, dim=2).indices)


@pytest.mark.parametrize("count", [255, 256])
def test_largest_among_as_many_as_a_network_may_have(count):
    scores = torch.arange(count, 0.0, -1).view(1, 1, count, 1)
    for ordered in (scores, scores.flip(2)):
        assert torch.equal(largest(ordered, 3), ordered.topk(3, dim=2).indices)


@pytest.mark.parametrize("count", [4, 256])
def test_of_equal_scores_the_first_is_largest(count):
    assert largest(torch.zeros(1, 1, count, 1), 2).flatten().tolist() == [0, 1]


def test_a_score_that_is_no_number_chooses_the_last():
    assert largest(torch.tensor([0.0, math.nan, 1.0]).view(1, 1, 3, 1), 1).item() == 2
