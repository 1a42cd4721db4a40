"""Initial values of every baseline at full size, against the sentence of its file that states them."""

from __future__ import annotations

import math

import pytest
import torch

from d2r.config import resolve_network
from d2r.networks.registry import build_actor, build_critics

METHODS = ["mtsac", "mtmhsac", "sac", "softmod-deep", "care", "moore", "mmoe", "film", "paco"]


def networks(method, suite="mt10", tasks=10):
    config = resolve_network(method, suite)
    source = torch.Generator().manual_seed(0)
    return build_actor(config, tasks, source), build_critics(config, tasks, source)


def assert_deviation(values, expected, kurtosis):
    """The sample's standard deviation is the expected one up to four standard errors."""
    distinct = values.detach().unique()  # PaCo's parameter sets are copies of one
    error = math.sqrt((kurtosis - 1) / (4 * distinct.numel()))
    assert distinct.std().item() == pytest.approx(expected, rel=4 * error)


def assert_uniform(values, bound):
    assert values.abs().max() <= bound * (1 + 1e-6)
    assert_deviation(values, bound / math.sqrt(3), kurtosis=1.8)


def assert_standard_normal(values):
    assert_deviation(values, 1.0, kurtosis=3.0)
    assert values.abs().max() > 2


def official_hidden(layer):
    """``layers.py``: hidden weights are bounded by the number of output units, hidden biases are 0.1."""
    assert_uniform(layer.weight, 1 / math.sqrt(layer.weight.shape[-2]))
    assert torch.equal(layer.bias, torch.full_like(layer.bias, 0.1))


def official_output(layer):
    """``layers.py``: an output layer has all values in +-3e-3."""
    assert_uniform(layer.weight, 3e-3)
    assert_uniform(layer.bias, 3e-3)


def default_of_pytorch(layer):
    """``moore.py``, deviation 1: the experts have PyTorch's default initial values."""
    _, _, outputs, inputs = layer.weight.shape
    assert_uniform(layer.weight, 1 / math.sqrt(inputs))
    assert_uniform(layer.bias, 1 / math.sqrt(inputs))
    theirs = torch.nn.Linear(inputs, outputs)
    assert theirs.weight.std().item() == pytest.approx(layer.weight.std().item(), rel=0.05)


def he(layer):
    """``paco.py``: hidden weights are drawn as ALF draws them, normal of variance 2/inputs and cut, with biases 0."""
    deviation = math.sqrt(2 / layer.weight.shape[-1])
    assert_deviation(layer.weight, deviation, kurtosis=3.0)
    assert layer.weight.abs().max() < 2.3 * deviation, (
        "cut at two deviations of what is drawn, 2.27 of what is left"
    )
    assert not layer.bias.any()


def stated(method, part):
    """The rule for a part of a method's network."""
    if part in ("head", "heads", "logits", "gates"):  # of the latter two: "start near zero", "near uniform"
        return official_output
    return {("moore", "experts"): default_of_pytorch, ("paco", "hidden"): he}.get(
        (method, part), official_hidden
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_layer_starts_as_its_file_says(method):
    for network in networks(method):
        for name, layer in network.named_modules():
            if hasattr(layer, "weight"):
                stated(method, name.split(".")[0])(layer)


@pytest.mark.parametrize(
    ("method", "name"), [("care", "embedding"), ("film", "embedding"), ("paco", "composition")]
)
def test_embeddings_and_combination_weights_start_standard_normal(method, name):
    for network in networks(method):
        assert_standard_normal(getattr(network, name))


def test_moore_weights_of_the_experts_start_as_xavier_draws_them():
    """``moore.py``: w is one bias-free linear map of the one-hot task, Xavier."""
    for network in networks("moore", "mt50", 50):
        assert_uniform(network.composition, math.sqrt(6 / (50 + 6)))
