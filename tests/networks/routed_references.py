"""Slow, obvious forms of the routed networks at evaluation: groups, sources and modules one after the other."""

from __future__ import annotations

import torch.nn.functional as F

from d2r.config.networks import RoutedConfig, RoutedLayerConfig, RoutedModelConfig

from .baseline_references import linear, one_hot, sequence
from .level_references import routed_value
from .references import reference

SIZES = {"module_dim": 6, "encoder_dim": 9, "router_dim": 7}


@reference(
    RoutedConfig(num_modules=5, **SIZES),
    routed_softly=RoutedConfig(num_modules=5, top_k=None, **SIZES),
    routed_by_shares_without_shortcut=RoutedConfig(num_modules=5, renormalise=False, residual=False, **SIZES),
)
def routed(network, x, task):
    """Paper, section 3.1: u = e f, a group of logits for each module, the K largest of it, a softmax, a mixture."""
    config = network.config
    state = sequence(network.state_encoder, x, last=False)
    encoding = linear(network.task_encoder, one_hot(network, task, x))
    logits = sequence(network.router, encoding * state, last=False)
    outputs = [F.relu(linear(network.first_module, F.relu(state)))]

    def mixture(group: int):
        """Of modules 0..group, by the group's own logits, which follow those of all smaller groups."""
        first = group * (group + 1) // 2
        of_group = logits[first : first + group + 1]
        chosen = of_group.argsort(descending=True)[: config.top_k]
        weighed_among = of_group[chosen] if config.renormalise else of_group
        total = weighed_among.exp().sum()
        return sum(of_group[source].exp() / total * outputs[source] for source in chosen)

    for module in range(1, config.num_modules):
        mixed = mixture(module - 1)
        own = F.relu(
            F.linear(mixed, network.module_weight[0, module - 1], network.module_bias[0, module - 1])
        )
        outputs.append(own + mixed if config.residual else own)
    return linear(network.head, mixture(config.num_modules - 1))


@reference(
    RoutedLayerConfig(num_modules=6, num_layers=3, **SIZES),
    RoutedModelConfig(num_modules=6, num_models=3, **SIZES),
)
def along_its_route(network, x, task):
    """The modules along the route that the network gives; test_routing_levels.py is about what routes there are."""
    route = network(x.expand(1, 1, network.num_tasks, -1)).route
    sources, weights, suitable, _ = (part[0, 0, task] for part in route)
    return routed_value(network, x, (sources, weights, suitable), restrict=False)
