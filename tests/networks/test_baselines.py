"""Every baseline architecture: its arithmetic, its size, and what its tasks share."""

from __future__ import annotations

import pytest
import torch

from d2r.algorithms.sac import MultiTaskSAC
from d2r.config import SacConfig, load_method, load_scale, method_ids, resolve_network
from d2r.config.networks import (
    MlpConfig,
    MultiHeadConfig,
)
from d2r.errors import UserError
from d2r.networks.registry import build_actor, build_critics, count_parameters

from .references import SMALL, find_references
from .small import TASKS, generator, observations, small_actor, small_critics, spread

find_references()


def gradient_of_task(network, task):
    network.zero_grad()
    network(observations()).value[:, :, task].square().sum().backward()
    return {name: p.grad.clone() for name, p in network.named_parameters()}


@pytest.mark.parametrize(
    ("name", "own", "axis"),
    [
        ("multihead", ("heads.linear.weight", "heads.linear.bias"), 1),
        ("independent", "all", 1),
        ("paco", ("composition",), 1),
        ("moore", ("composition", "heads.linear.weight", "heads.linear.bias"), 1),
        ("mmoe", ("gates.linear.weight", "gates.linear.bias", "heads.linear.weight", "heads.linear.bias"), 1),
        ("care", ("embedding",), 1),
        ("film", ("embedding",), 1),
    ],
)
def test_a_task_reaches_its_own_part_and_what_is_shared(name, own, axis):
    actor = spread(small_actor(SMALL[name]))
    gradients = [gradient_of_task(actor, task) for task in range(TASKS)]
    own = tuple(gradients[0]) if own == "all" else own
    for task, gradient in enumerate(gradients):
        for parameter, value in gradient.items():
            if parameter in own:
                reached = value.abs().movedim(axis, 0).flatten(1).sum(1) > 0
                assert reached.tolist() == [other == task for other in range(TASKS)], parameter
            else:
                assert value.abs().sum() > 0, f"{parameter} must be shared"


@pytest.mark.parametrize("name", ["mlp", "soft modularization deep"])
def test_without_own_parts_tasks_differ_by_their_one_hot_column_only(name):
    actor = spread(small_actor(SMALL[name]))
    holder, columns = ("first", slice(39, None)) if name == "mlp" else ("task_encoder", slice(None))
    for task in range(TASKS):
        gradient = gradient_of_task(actor, task)
        of_task = gradient.pop(f"{holder}.weight")[0][:, columns]
        assert (of_task.abs().sum(0) > 0).tolist() == [other == task for other in range(TASKS)]
        assert all(value.abs().sum() > 0 for value in gradient.values())


PARAMETERS = {
    "d2r": ((684_240, 684_937), (700_240, 700_937)),
    "mtsac": ((344_008, 342_801), (360_008, 358_801)),
    "mtmhsac": ((368_880, 342_410), (497_200, 358_450)),
    "softmod-shallow": ((691_022, 690_823), (707_022, 706_823)),
    "softmod-deep": ((792_444, 793_141), (808_444, 809_141)),
    "paco": ((1_700_090, 1_694_055), (6_801_160, 6_777_020)),
    "moore": ((1_379_320, 1_357_650), (2_181_500, 2_050_750)),
}
"""Actor and critic, on MT10 and MT50, derived by hand from the papers' and authors' descriptions, layer by layer."""


@pytest.mark.parametrize("method", PARAMETERS)
def test_parameter_counts_are_the_derived_ones(method):
    for suite, tasks, expected in zip(("mt10", "mt50"), (10, 50), PARAMETERS[method], strict=True):
        assert tuple(count_parameters(resolve_network(method, suite), tasks)) == expected


def dense(*sizes):
    return sum(a * b + b for a, b in zip(sizes, sizes[1:], strict=False))


def test_parameter_counts_of_the_others_follow_from_their_layers():
    for suite, tasks, experts, encoders in (("mt10", 10, 4, 6), ("mt50", 50, 6, 10)):
        for position, (inputs, outputs) in enumerate(((39, 8), (43, 1))):

            def count(method, suite=suite, tasks=tasks, position=position):
                return count_parameters(resolve_network(method, suite), tasks)[position]

            trunk = dense(100, 400, 400, 400, outputs)
            assert count("sac") == tasks * dense(inputs, 400, 400, 400, outputs)
            assert count("care") == (
                50 * tasks + dense(50, 50, 50, 50) + dense(50, 50, 50, encoders)
                + encoders * dense(inputs, 50, 50) + trunk
            )  # fmt: skip
            assert count("mmoe") == (
                experts * dense(inputs, 400, 400, 400)
                + tasks * (dense(inputs, experts) + dense(400, outputs))
            )
            assert count("film") == 50 * tasks + dense(50, 50, 50, 6) + dense(inputs, 50, 50, 50) + trunk
            assert count("pcgrad") == count("mtmhsac")


@pytest.mark.parametrize("method", method_ids())
def test_every_method_builds_at_the_smallest_scale(method):
    config = resolve_network(method, "mt10", load_scale("smoke").width)
    actor = build_actor(config, 10, generator())
    critics = build_critics(config, 10, generator())
    assert actor(torch.zeros(1, 2, 10, 39)).value.shape == (1, 2, 10, 8)
    assert critics(torch.zeros(1, 2, 10, 43)).value.shape == (2, 2, 10, 1)
    count = count_parameters(config, 10)
    assert sum(p.numel() for p in actor.parameters()) == count.actor
    assert sum(p.numel() for p in critics.parameters()) == 2 * count.critic


@pytest.mark.parametrize("width", [1.0, 0.5, 0.32, 0.1])
@pytest.mark.parametrize(("suite", "tasks"), [("mt10", 10), ("mt50", 50)])
@pytest.mark.parametrize("method", ["mtsac-matched", "mtmhsac-matched"])
def test_matched_networks_have_the_parameters_of_d2r_at_every_scale(method, suite, tasks, width):
    target = count_parameters(resolve_network("d2r", suite, width), tasks)
    matched = count_parameters(resolve_network(method, suite, width), tasks)
    for got, wanted in zip(matched, target, strict=True):
        assert abs(got - wanted) / wanted < 0.01


def test_matched_networks_follow_a_scale_that_changes_the_number_of_modules():
    fewer = {"num_modules": 6}
    target = count_parameters(resolve_network("d2r", "mt10", 0.32, fewer), 10)
    matched = count_parameters(resolve_network("mtsac-matched", "mt10", 0.32, fewer), 10)
    assert target != count_parameters(resolve_network("d2r", "mt10", 0.32), 10)
    assert all(abs(got - wanted) / wanted < 0.01 for got, wanted in zip(matched, target, strict=True))


def test_matched_actor_and_critic_each_have_the_count_of_their_own_counterpart():
    other = MultiHeadConfig(hidden_dim=64)
    target = count_parameters(other, 20)
    assert target.actor > 1.5 * target.critic
    matched = count_parameters(MlpConfig(matched=other), 20)
    for got, wanted in zip(matched, target, strict=True):
        assert got == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize(
    ("config", "other", "off"),
    [
        (MlpConfig(num_layers=2), resolve_network("d2r", "mt10", 0.1), r"-\d\.\d\d%"),
        (MultiHeadConfig(num_layers=4), resolve_network("d2r", "mt10", 0.1), r"-\d\.\d\d%"),
        (MultiHeadConfig(), MlpConfig(hidden_dim=1), r"\+\d+\.\d\d%"),
    ],
    ids=["mlp, 2 layers", "multihead, 4 layers", "one unit is too many"],
)
def test_a_match_more_than_one_percent_off_is_refused_and_says_how_near_it_got(config, other, off):
    config = config.model_copy(update={"match_parameters_of": "d2r", "matched": other})
    with pytest.raises(
        UserError, match=f"match_parameters_of: d2r: .* is {off} off its .* parameters"
    ) as error:
        count_parameters(config, 10)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("method", ["paco", "moore", "care", "mmoe"])
def test_mt50_has_the_sources_larger_number_of_parts(method):
    sizes = load_method(method).mt50
    assert sizes
    for name, value in sizes.items():
        assert getattr(resolve_network(method, "mt50"), name) == value
        assert getattr(resolve_network(method, "mt10"), name) < value


def test_clipping_per_task_is_refused_where_tasks_share_parameters():
    shared, apart = SMALL["mlp"], SMALL["independent"]
    per_task = SacConfig(clip_per="task", task_weights="uniform")
    MultiTaskSAC(small_actor(apart), small_critics(apart), per_task)
    with pytest.raises(UserError, match="type: independent"):
        MultiTaskSAC(small_actor(shared), small_critics(shared), per_task)
