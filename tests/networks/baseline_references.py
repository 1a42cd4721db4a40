"""Slow, obvious forms of the baselines: one sample of one task at a time, one expert or module after the other.

Each function takes a network built with an ensemble of one, an input vector and the task's number, and reads
the network's parameters.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from d2r.config.networks import (
    CareConfig,
    FilmConfig,
    IndependentConfig,
    MlpConfig,
    MmoeConfig,
    MooreConfig,
    MultiHeadConfig,
    PacoConfig,
    SoftModularizationConfig,
)

from .references import reference


def linear(layer, x: Tensor) -> Tensor:
    return F.linear(x, layer.weight[0], layer.bias[0])


def member(layer, index: int, x: Tensor) -> Tensor:
    """One of a group of linear maps."""
    return F.linear(x, layer.weight[0, index], layer.bias[0, index])


def sequence(layers, x: Tensor, last: bool) -> Tensor:
    for position, layer in enumerate(layers):
        x = linear(layer, x)
        if last or position + 1 < len(layers):
            x = F.relu(x)
    return x


def one_hot(network, task: int, like: Tensor) -> Tensor:
    return F.one_hot(torch.tensor(task), network.num_tasks).to(like)


@reference(MlpConfig(hidden_dim=12))
def mlp(network, x, task):
    h = F.relu(linear(network.first, torch.cat([x, one_hot(network, task, x)])))
    return linear(network.head, sequence(network.hidden, h, last=True))


@reference(
    MultiHeadConfig(hidden_dim=12), multihead_with_the_task=MultiHeadConfig(hidden_dim=12, task_input=True)
)
def multihead(network, x, task):
    if network.first.weight.shape[-1] > len(x):
        x = torch.cat([x, one_hot(network, task, x)])
    h = sequence(network.hidden, F.relu(linear(network.first, x)), last=True)
    return member(network.heads.linear, task, h)


@reference(IndependentConfig(hidden_dim=12))
def independent(network, x, task):
    for layer in network.hidden:
        x = F.relu(member(layer, task, x))
    return member(network.head, task, x)


@reference(
    soft_modularization_shallow=SoftModularizationConfig(
        num_layers=2, modules_per_layer=2, module_dim=8, encoder_dim=10, gating_dim=6
    ),
    soft_modularization_deep=SoftModularizationConfig(
        num_layers=4, modules_per_layer=3, module_dim=8, encoder_dim=10, gating_dim=6
    ),
)
def soft_modularization(network, x, task):
    count = network.modules_per_layer
    state = sequence(network.state_encoder, x, last=False)
    embedding = F.relu(linear(network.task_encoder, one_hot(network, task, x)) * state)
    embedding = sequence(network.gating, embedding, last=False)
    weights = [linear(network.logits[0], F.relu(embedding)).view(-1, count).softmax(-1)]
    for condition, emit in zip(network.conditions, network.logits[1:], strict=True):
        seen = torch.cat([w.flatten() for w in weights])
        weights.append(linear(emit, F.relu(linear(condition, seen) * embedding)).view(-1, count).softmax(-1))
    outputs = [member(network.layers[0], j, F.relu(state)) for j in range(count)]
    for layer, weight in zip(network.layers[1:], weights[:-1], strict=True):
        outputs = [
            member(layer, i, F.relu(sum(weight[i, j] * outputs[j] for j in range(count))))
            for i in range(count)
        ]
    mixed = sum(weights[-1][0, j] * outputs[j] for j in range(count))
    return linear(network.head, F.relu(mixed))


@reference(
    CareConfig(num_experts=3, context_dim=20, hidden_dim=12),
    care_with_given_embeddings=CareConfig(
        num_experts=3,
        context_dim=20,
        hidden_dim=12,
        task_embeddings=((0.5, -1.0, 2.0, 0.1), (0.3, 0.2, -0.7, 1.5), (1.0, 1.0, -1.0, 0.0)),
    ),
)
def care(network, x, task):
    embedding = sequence(network.project, F.relu(network.embedding[0, task]), last=True)
    context = sequence(network.context_network, embedding, last=False)
    attention = sequence(network.attention_network, context, last=False).softmax(-1)
    first, second = network.encoders
    encoded = [member(second, k, F.relu(member(first, k, x))) for k in range(len(attention))]
    state = sum(a * z for a, z in zip(attention, encoded, strict=True))
    return linear(network.head, sequence(network.trunk, torch.cat([state, context]), last=True))


@reference(PacoConfig(num_sets=3, hidden_dim=12))
def paco(network, x, task):
    def composed(layer, h):
        w = network.composition[0, task]
        weight = sum(w[k] * layer.weight[0, k] for k in range(len(w)))
        bias = sum(w[k] * layer.bias[0, k] for k in range(len(w)))
        return F.linear(h, weight, bias)

    for layer in network.hidden:
        x = F.relu(composed(layer, x))
    return composed(network.head, x)


def gram_schmidt(vectors: list[Tensor]) -> list[Tensor]:
    basis: list[Tensor] = []
    for vector in vectors:
        for direction in basis:
            vector = vector - (vector @ direction) * direction
        basis.append(vector / vector.norm())
    return basis


@reference(MooreConfig(num_experts=3, hidden_dim=12))
def moore(network, x, task):
    outputs = []
    for k in range(network.composition.shape[-1]):
        h = x
        for position, layer in enumerate(network.experts):
            h = member(layer, k, h)
            if position + 1 < len(network.experts):
                h = F.relu(h)
        outputs.append(h)
    basis = gram_schmidt(outputs)
    features = sum(w * u for w, u in zip(network.composition[0, task], basis, strict=True))
    return member(network.heads.linear, task, torch.tanh(features))


@reference(MmoeConfig(num_experts=3, hidden_dim=12))
def mmoe(network, x, task):
    gate = member(network.gates.linear, task, x).softmax(-1)
    features = 0
    for k, share in enumerate(gate):
        h = x
        for layer in network.experts:
            h = F.relu(member(layer, k, h))
        features = features + share * h
    return member(network.heads.linear, task, features)


@reference(FilmConfig(context_dim=20, hidden_dim=12))
def film(network, x, task):
    embedding = F.relu(network.embedding[0, task])
    modulation = sequence(network.modulation, embedding, last=False)
    h = x
    for position, layer in enumerate(network.encoder):
        h = linear(layer, h)
        if position + 1 < len(network.encoder):
            h = F.relu(h)
        h = (1 + modulation[2 * position]) * h + modulation[2 * position + 1]
    return linear(network.head, sequence(network.trunk, torch.cat([h, embedding]), last=True))
