"""What instruments say of routes that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from d2r.algorithms.sac import MultiTaskSAC
from d2r.config import SacConfig
from d2r.config.networks import RoutedConfig
from d2r.networks.registry import build_actor, build_critics
from d2r.runs.tidy import Row
from d2r.training.routing_instruments import of_states_and_phases, survey_replay, survey_routes
from tests.support.variants import TASKS, batch, network, states

EPISODES, LENGTH = 5, 20


def read_by(state: torch.Tensor, sources: int = 20) -> torch.Tensor:
    """One reader that takes the source of this number in each state [state], alike in all tasks."""
    return torch.nn.functional.one_hot(state, sources).float()[:, None, None].expand(-1, TASKS, -1, -1)


def test_routes_that_follow_the_quarter_of_the_episode() -> None:
    quarter = (torch.arange(LENGTH) // 5).repeat(EPISODES)
    found = of_states_and_phases(read_by(quarter), EPISODES)
    assert found["state"] == pytest.approx(2.0)
    assert found["phase"] == pytest.approx(2.0, abs=0.1)


def test_routes_that_differ_between_states_and_not_between_quarters() -> None:
    found = of_states_and_phases(read_by(torch.arange(LENGTH).repeat(EPISODES) % 5), EPISODES)
    assert found["state"] == pytest.approx(np.log2(5))
    assert found["phase"] == pytest.approx(0.0, abs=0.1)


def test_routes_that_never_change() -> None:
    found = of_states_and_phases(read_by(torch.zeros(LENGTH * EPISODES, dtype=torch.int64)), EPISODES)
    assert found == {"state": 0.0, "phase": 0.0}


@pytest.mark.parametrize(("sees", "depends"), [("task", False), ("product", True), ("state", True)])
def test_routes_depend_on_the_state_where_the_router_sees_it(sees: str, depends: bool) -> None:
    config = RoutedConfig(num_modules=6, module_dim=8, encoder_dim=16, router_dim=16, router_input=sees)
    actor = build_actor(config, TASKS, torch.Generator().manual_seed(0))
    states = np.random.default_rng(0).normal(size=(2 * LENGTH, TASKS, 39))
    rows = {row[2]: float(row[3]) for row in survey_routes(actor, states, 2, None, 1).metrics if row[1] == ""}
    assert (rows["route_state_information"] > 1e-6) == depends
    if not depends:
        assert rows["route_phase_information"] == pytest.approx(0.0, abs=1e-6)


def test_without_a_router_nothing_is_measured_of_choices() -> None:
    config = RoutedConfig(num_modules=4, module_dim=8, encoder_dim=16, router_dim=16, router="none")
    actor = build_actor(config, TASKS, torch.Generator().manual_seed(0))
    rows = survey_routes(actor, np.zeros((LENGTH, TASKS, 39)), 1, None, 1).metrics
    assert not {"route_state_information", "route_phase_information"} & {row[2] for row in rows}


def test_modules_that_are_not_there_yet_count_nowhere() -> None:
    def measured(of_hidden: float) -> list[Row]:
        actor = network("d2r-growing", num_modules=16)
        assert actor.router is not None
        hidden = slice(1 + 2 + 3, 16 * 15 // 2)  # logits of the readers that feed modules 5 to 16
        with torch.no_grad():
            actor.router[-1].weight[..., hidden, :].mul_(of_hidden)
        critics = build_critics(actor.config, TASKS, torch.Generator().manual_seed(2))
        learner = MultiTaskSAC(actor, critics, SacConfig())
        seen = survey_routes(actor, states()[0].double().numpy(), 1, None, 1).metrics
        return seen + survey_replay(learner, batch(stored=True), 1, torch.Generator().manual_seed(3))

    once, again = ({row[1:3]: row[3] for row in measured(factor)} for factor in (1.0, 9.0))
    assert once == again
    norms = {name for _, name in once if name.startswith("module_grad_norm")}
    assert norms == {f"module_grad_norm.{module}" for module in (1, 2, 3, 4)}
