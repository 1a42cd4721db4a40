"""The one idea of each baseline: what its mixture, its weights or its experts must satisfy."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from d2r.config import resolve_network
from d2r.config.benchmarks import suite_tasks
from d2r.config.embeddings import read_task_embeddings
from d2r.config.networks import MooreConfig, PacoConfig
from d2r.errors import UserError
from d2r.networks.moore import gram_schmidt_factor, mix_orthonormal
from d2r.networks.registry import build_actor, build_critics
from tests.support.embeddings import mt10_embeddings

from .baseline_references import gram_schmidt
from .references import SMALL
from .small import TASKS, generator, observations, small_actor, spread


def assert_shares(weights):
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))


@pytest.mark.parametrize("name", ["soft modularization shallow", "soft modularization deep"])
def test_soft_modularization_weights_are_shares_of_the_layer_before(name):
    config = SMALL[name]
    actor = spread(small_actor(config))
    state = actor.state_encoder[1](actor.state_encoder[0](observations()).relu())
    weights = actor.routing_weights(state)
    count = config.modules_per_layer
    assert [w.shape[-2:] for w in weights] == [(count, count)] * (config.num_layers - 1) + [(1, count)]
    for weight in weights:
        assert_shares(weight)


def test_soft_modularization_starts_close_to_uniform():
    actor = build_actor(resolve_network("softmod-deep", "mt10"), 10, generator())
    state = actor.state_encoder[0](torch.randn(1, 8, 10, 39, generator=generator()))
    for weight in actor.routing_weights(state):
        assert (weight - 1 / 4).abs().max() < 0.05


def test_care_attention_and_mmoe_gates_are_shares():
    care = spread(small_actor(SMALL["care"]))
    attention = care.attention(care.context())
    assert attention.shape == (1, 1, TASKS, 3)
    assert_shares(attention)
    assert attention.std(2).max() > 1e-3, "tasks must be able to attend differently"
    mmoe = spread(small_actor(SMALL["mmoe"]))
    gate = mmoe.gate(observations())
    assert_shares(gate)
    assert gate.std(1).max() > 1e-3, "gates must look at the state"


def test_care_keeps_given_embeddings_fixed():
    actor = spread(small_actor(SMALL["care with given embeddings"]))
    given = torch.tensor(SMALL["care with given embeddings"].task_embeddings, dtype=torch.float64)
    torch.testing.assert_close(actor.embedding[0], given)
    assert "embedding" not in dict(actor.named_parameters())
    assert "embedding" in actor.state_dict(), "a published policy must carry them"


def write_embeddings(folder, data):
    path = folder / "embeddings.json"
    path.write_text(json.dumps(data))
    return path


def test_embeddings_file_is_read_in_task_order(tmp_path):
    data = mt10_embeddings()
    shuffled = dict(reversed(data.items())) | {"hammer": [9.0, 9.0, 9.0]}
    shuffled["reach-v3"] = shuffled.pop("reach")
    vectors = read_task_embeddings(write_embeddings(tmp_path, shuffled), suite_tasks("mt10"))
    assert [vector[0] for vector in vectors] == list(range(10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("window-open"), "window-open"),
        (lambda data: data.update(push=[1.0]), "'push' has 1 numbers"),
        (lambda data: data.update(push=[1.0, 2.0, float("nan")]), "'push' must be a list of finite numbers"),
        (lambda data: data.update(push=[1.0, 2.0, float("-inf")]), "'push' must be a list of finite numbers"),
        (lambda data: data.update(push=[1.0, 2.0, 10**400]), "'push' must be a list of .* range of float32"),
        (lambda data: data.update(push=[1.0, 2.0, -1e39]), "'push' must be a list of .* range of float32"),
        (lambda data: data.update(push=[1.0, 2.0, True]), "'push' must be a list of finite numbers"),
        (lambda data: data.update(push="RoBERTa"), "'push' must be a list of finite numbers"),
        (lambda data: data.update(push=None), "'push' must be a list of finite numbers"),
        (
            lambda data: data.update({"push-v3": data.pop("push") and None}),
            "'push-v3' must be a list of finite numbers",
        ),
        (lambda data: data.update({"push-v3": data["push"]}), "both 'push' and 'push-v3' are given"),
        (lambda data: data.update(push=[]), "'push' is empty"),
        (lambda data: data.clear(), "the object is empty"),
    ],
)
def test_unfit_embeddings_are_refused_by_name(tmp_path, change, message):
    data = mt10_embeddings()
    change(data)
    with pytest.raises(UserError, match=message):
        read_task_embeddings(write_embeddings(tmp_path, data), suite_tasks("mt10"))


def test_the_largest_numbers_of_float32_are_embeddings(tmp_path):
    largest = torch.finfo(torch.float32).max
    data = mt10_embeddings() | {"push": [largest, -largest, 3]}
    assert read_task_embeddings(write_embeddings(tmp_path, data), suite_tasks("mt10"))[1] == (
        largest,
        -largest,
        3.0,
    )


def test_an_embedding_given_twice_is_refused(tmp_path):
    path = tmp_path / "embeddings.json"
    path.write_text('{"reach": [1.0], "reach": [2.0]}')
    with pytest.raises(UserError, match=r"embeddings\.json: key 'reach' is given twice"):
        read_task_embeddings(path, suite_tasks("mt10"))


def test_a_folder_is_no_embeddings_file(tmp_path):
    with pytest.raises(UserError, match="is a folder; 'embeddings_file' must name a JSON file"):
        read_task_embeddings(tmp_path, suite_tasks("mt10"))


@pytest.mark.parametrize("text", ["[1, 2]", "not json", ""])
def test_a_file_that_is_no_object_is_refused(tmp_path, text):
    path = tmp_path / "embeddings.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"embeddings\.json"):
        read_task_embeddings(path, suite_tasks("mt10"))


def test_paco_sets_start_identical_and_weights_do_not():
    actor = build_actor(resolve_network("paco", "mt10"), 10, generator())
    for layer in (*actor.hidden, actor.head):
        for parameter in layer.parameters():
            assert torch.equal(parameter, parameter[:, :1].expand_as(parameter))
    assert actor.composition.shape == (1, 10, 5)
    assert 0.6 < actor.composition.std() < 1.4


def paco_critics(**changes):
    return spread(build_critics(PacoConfig(num_sets=2, hidden_dim=8, **changes), 6, generator()))


def test_paco_resets_a_masked_task_to_a_mixture_of_the_others():
    critics = paco_critics()
    before = critics.composition.detach().clone()
    others = {name: p.detach().clone() for name, p in critics.named_parameters() if name != "composition"}
    masked = torch.tensor([False, True, False, False, True, False])
    critics.after_update(masked.unsqueeze(0), [generator(7)])
    after = critics.composition.detach()
    assert torch.equal(after[:, ~masked], before[:, ~masked])
    kept = before[:, ~masked]
    assert (after[:, masked] != before[:, masked]).all()
    assert (after[:, masked] >= kept.amin(1, keepdim=True)).all()
    assert (after[:, masked] <= kept.amax(1, keepdim=True)).all()
    assert not torch.equal(after[0, 1], after[0, 4]), "each masked task draws a mixture of its own"
    assert all(torch.equal(p, others[name]) for name, p in critics.named_parameters() if name in others)


def test_paco_reset_draws_a_mixture_of_its_own_for_each_critic():
    critics = paco_critics()
    with torch.no_grad():
        critics.composition[1] = critics.composition[0]
    critics.after_update(torch.tensor([[False] * 5 + [True]]), [generator(3)])
    first, second = critics.composition.detach()
    assert torch.equal(first[:5], second[:5])
    assert (first[5] != second[5]).all()


def test_paco_reset_is_convex_beyond_the_bounding_box():
    critics = paco_critics()
    with torch.no_grad():
        critics.composition[:, 0] = torch.tensor([1.0, 0.0])
        critics.composition[:, 1:5] = torch.tensor([0.0, 1.0])
    critics.after_update(torch.tensor([[False] * 5 + [True]]), [generator(3)])
    torch.testing.assert_close(critics.composition[:, 5].sum(-1), torch.ones(2))
    assert (critics.composition[:, 5] > 0).all()


def test_paco_reset_can_be_switched_off_and_needs_a_task_to_copy():
    everything = torch.ones(6, dtype=torch.bool)
    for critics, masked in (
        (paco_critics(reset_masked=False), torch.tensor([True] + [False] * 5)),
        (paco_critics(), everything),
    ):
        before = critics.composition.detach().clone()
        critics.after_update(masked.unsqueeze(0), [generator()])
        assert torch.equal(critics.composition, before)


def test_other_networks_ignore_masked_tasks():
    for config in SMALL.values():
        if config.type != "paco":
            actor = small_actor(config)
            before = {name: p.detach().clone() for name, p in actor.named_parameters()}
            actor.after_update(torch.tensor([[True, False, True]]), [generator()])
            assert all(torch.equal(p, before[name]) for name, p in actor.named_parameters())


def orthonormal(vectors):
    """Gram-Schmidt on the rows of ``vectors`` [..., k, d] by the factor that a forward pass solves with, in float64."""
    factor, scale = gram_schmidt_factor(vectors)
    return torch.linalg.solve_triangular(factor, scale * vectors.double(), upper=False)


def gram_of_mixed(vectors):
    """Inner products of the basis that a forward pass mixes, found by mixing with unit weights."""
    unit = torch.eye(vectors.shape[-2])
    basis = [mix_orthonormal(vectors, weight.expand(vectors.shape[:-1])) for weight in unit]
    stacked = torch.stack(basis, -2).double()
    return (stacked @ stacked.mT).float()


@pytest.mark.parametrize("angle", [1.0, 0.1, 0.015])
def test_moore_mixes_an_orthonormal_basis_up_to_small_angles(angle):
    source = generator(3)
    vectors = torch.randn(100, 1, 400, generator=source) + angle * torch.randn(100, 6, 400, generator=source)
    assert (gram_of_mixed(vectors) - torch.eye(6)).abs().max() < 1e-5


@pytest.mark.parametrize("suite", ["mt10", "mt50"])
def test_moore_experts_are_orthonormal_for_every_sample(suite):
    config = resolve_network("moore", suite)
    actor = build_actor(config, 10, generator())
    vectors = actor.expert_outputs(torch.randn(1, 16, 10, 39, generator=generator(1))).transpose(1, 2)
    gram = gram_of_mixed(vectors)
    assert gram.shape == (1, 160, config.num_experts, config.num_experts)
    assert (gram - torch.eye(config.num_experts)).abs().max() < 1e-5


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1, 6),
    angle=st.floats(-2.5, 0.0).map(lambda exponent: 10**exponent),
    scales=st.lists(st.floats(-4, 4), min_size=6, max_size=6),
)
def test_moore_gram_schmidt_holds_for_nearly_parallel_experts_of_any_length(seed, count, angle, scales):
    source = generator(seed)
    common = torch.randn(1, 1, 40, generator=source)
    vectors = common + angle * torch.randn(5, count, 40, generator=source)
    vectors = vectors * torch.tensor([10**s for s in scales[:count]], dtype=torch.float32).unsqueeze(-1)
    basis = orthonormal(vectors)
    assert (basis @ basis.mT - torch.eye(count, dtype=torch.float64)).abs().max() < 1e-5
    expected = torch.stack([torch.stack(gram_schmidt(list(sample.double()))) for sample in vectors])
    torch.testing.assert_close(basis, expected, rtol=1e-4, atol=1e-5)
    weights = torch.randn(5, count, generator=source)
    mixed = mix_orthonormal(vectors, weights)
    torch.testing.assert_close(
        mixed.double(), (weights.double().unsqueeze(-2) @ basis).squeeze(-2), rtol=0, atol=1e-3
    )


def test_moore_mixture_has_the_gradient_of_gram_schmidt():
    source = generator(4)
    vectors = torch.randn(2, 3, 4, 6, generator=source, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, 4, generator=source, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mix_orthonormal, (vectors, weights))


def test_moore_stays_finite_where_experts_are_dependent():
    source = generator(5)
    vectors = torch.randn(6, 4, 20, generator=source)
    vectors[0, 1] = vectors[0, 0]
    vectors[1, 2] = 3 * vectors[1, 0] - vectors[1, 1]
    vectors[2, 3] = 0
    vectors[3] = 0
    vectors.requires_grad_()
    weights = torch.randn(6, 4, generator=source, requires_grad=True)
    mixed = mix_orthonormal(vectors, weights)
    mixed.square().sum().backward()
    assert mixed.isfinite().all()
    assert (mixed.norm(dim=-1) <= weights.norm(dim=-1) * 1.2).all()
    assert vectors.grad.isfinite().all()
    assert weights.grad.isfinite().all()


def test_moore_refuses_more_experts_than_dimensions():
    with pytest.raises(ValidationError, match="cannot be orthogonal"):
        MooreConfig(num_experts=9, hidden_dim=8)
