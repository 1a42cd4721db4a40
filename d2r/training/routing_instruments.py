"""Instruments of routed networks: what routing does, measured at every evaluation on the actor.

Two sets of states are looked at: every tenth state of the evaluation, with the deterministic route, and one
batch from the replay with its stored behaviour routes. Nothing here changes the run: its randomness has a
stream of its own that starts anew at each step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from d2r.algorithms.replay import Batch
from d2r.algorithms.sac import MultiTaskSAC
from d2r.config.benchmarks import OBSERVATION_DIM
from d2r.information import conditional_information, information_above_chance
from d2r.networks.compute import dense_multiply_adds
from d2r.networks.d2r import route_graph
from d2r.networks.d2r.network import RoutedNetwork
from d2r.networks.routing import Replayed, Route
from d2r.runs.tidy import Row

PHASES = 4
"""Equal parts of an episode, whose routes are told apart."""


class RouteSurvey(NamedTuple):
    """Rows for ``metrics.csv`` and ``routes.csv``, and how often each edge is used, [task, group, module]."""

    metrics: list[Row]
    routes: list[Row]
    frequency: Tensor


def survey_routes(
    actor: RoutedNetwork,
    states: npt.NDArray[np.float64],
    episodes: int,
    previous: Tensor | None,
    step: int,
) -> RouteSurvey:
    """Look at the deterministic routes of the evaluation's states.

    Args:
        states: [state, task, 39], one episode after another.
        episodes: of each task, all of the same length.
        previous: edge frequencies at the evaluation before, for ``route_change``; none at the first.
    """
    parameter = next(actor.parameters())
    with torch.no_grad():
        route = actor(torch.from_numpy(states).to(parameter).unsqueeze(0)).route
    assert route is not None
    edge = route_graph.edges(route)[0]
    used = route_graph.used_modules(edge)
    count = edge.shape[-1]
    target_used = torch.nn.functional.pad(used[..., 1:], (0, 1), value=True)
    in_use = (edge > 0) & target_used.unsqueeze(-1)
    frequency = in_use.float().mean(0)
    per_task: dict[str, Tensor] = {
        "modules_used": used.sum(-1).float().mean(0),
        "depth": route_graph.depth(edge).mean(0),
        "multiply_adds": actor.multiply_adds(edge).float().mean(0),
    }
    if actor.num_logits:
        entropy, top1 = route_graph.entropy(route_graph.of_modules_in_use(route, actor.in_use))
        per_task |= {"route_entropy": entropy[0].mean(0), "top1_share": top1[0].mean(0)}
    if previous is not None:
        per_task["route_change"] = 1 - route_graph.similarity(frequency, previous.to(frequency))
    rows = of_tasks(step, per_task)
    tasks = frequency.shape[0]
    if tasks > 1:  # one alone has no other to be like
        first, second = torch.triu_indices(tasks, tasks, offset=1)
        similar = route_graph.similarity(frequency[first], frequency[second]).mean().item()
        rows.append((step, "", "route_jaccard", similar))
    if actor.num_logits:
        has_choice = torch.isfinite(route.logits[0, 0, 0]).sum(-1) > 1
        known = of_states_and_phases((edge * in_use)[:, :, has_choice], episodes)
        rows += [(step, "", f"route_{name}_information", value) for name, value in known.items()]
    rows.append((step, "", "multiply_adds_dense", dense_multiply_adds(actor, OBSERVATION_DIM)))
    weight = (edge * in_use).mean(0)
    routes: list[Row] = [
        (
            step,
            task,
            "out" if group == count - 1 else str(group + 2),
            str(source + 1),
            float(weight[task, group, source]),
        )
        for task, group, source in weight.nonzero().tolist()
    ]
    return RouteSurvey(rows, routes, frequency)


def of_states_and_phases(read: Tensor, episodes: int) -> dict[str, float]:
    """What the source that a reader in use takes says, within a task, of the state and of the phase of the episode.

    Mutual information in bits, the source drawn by its weight. A state is known exactly, so that this is how much
    routes differ between states; a phase is many states, and what chance alone gives is taken off.

    Args:
        read: [state, task, reader, source], weight with which a reader takes a source; 0 where it is not in use.
        episodes: that the states come from, one after another.
    """
    length = len(read) // episodes
    phases = np.tile(np.arange(length) * min(PHASES, length) // length, episodes)
    weights = read.permute(1, 2, 0, 3).flatten(0, 1).double().cpu().numpy()
    return {
        "state": conditional_information(weights),
        "phase": information_above_chance(weights, phases, np.random.default_rng(0)),
    }


def survey_replay(learner: MultiTaskSAC, batch: Batch, step: int, generator: torch.Generator) -> list[Row]:
    """Look at replayed transitions of a seed alone: agreement of routes, blocked sources, gradients that pull apart.

    ``gradient_cosine`` is the mean cosine over pairs of tasks of their gradients on the modules'
    parameters, of the policy loss for the actor and of the TD losses for the critics, on one batch, with
    ResRouting as configured and without it; one task alone has none. Modules that are not there yet count nowhere.
    """
    actor, critics = learner.actor, learner.critics
    assert isinstance(actor, RoutedNetwork)
    assert isinstance(critics, RoutedNetwork)
    rows: list[Row] = []
    if batch.sources is not None:
        with torch.no_grad():
            current, stored = (
                actor(batch.obs).route,
                actor(batch.obs, Replayed(batch.sources)).route,
            )
        assert isinstance(current, Route)
        assert isinstance(stored, Route)
        current, stored = (route_graph.of_modules_in_use(r, actor.in_use) for r in (current, stored))
        behaviour = route_graph.readers_in_use(batch.sources[0], actor.in_use)
        per_task = {"agreement": route_graph.agreement(behaviour, current).mean(0)}
        if actor.restricts:
            per_task["blocked_share"] = route_graph.blocked_share(stored)[0].mean(0)
        rows += of_tasks(step, per_task)
    draws = learner.draw(batch, [generator])
    for suffix, training in (("", True), ("_no_resrouting", False)):
        actor.train(training)
        critics.train(training)
        losses = learner.losses(batch, draws)
        of_actor = module_gradients(losses.policy[0], actor)
        of_critics = module_gradients(losses.critics[0].sum(0), critics)
        if of_actor.shape[0] > 1:
            rows.append((step, "", f"gradient_cosine{suffix}", mean_cosine(of_actor)))
            rows.append((step, "", f"critic_gradient_cosine{suffix}", mean_cosine(of_critics)))
        if training:
            norms = of_actor.sum(0).norm(dim=-1)[: actor.in_use].tolist()
            rows += [(step, "", f"module_grad_norm.{module + 1}", norm) for module, norm in enumerate(norms)]
    actor.train()
    critics.train()
    return rows


def module_gradients(task_losses: Tensor, network: RoutedNetwork) -> Tensor:
    """Gradient of each task's loss on each module's parameters, [task, module, parameter]."""
    parameters = network.module_parameters()
    return torch.stack(
        [network.by_module(torch.autograd.grad(loss, parameters, retain_graph=True)) for loss in task_losses]
    )


def mean_cosine(gradients: Tensor) -> float:
    """Mean cosine over pairs of at least two tasks; a task whose gradient is zero has cosine 0 with all."""
    flat = torch.nn.functional.normalize(gradients.flatten(1), dim=1)
    tasks = flat.shape[0]
    first, second = torch.triu_indices(tasks, tasks, offset=1)
    return float((flat @ flat.T)[first, second].mean())


def of_tasks(step: int, quantities: dict[str, Tensor]) -> list[Row]:
    """One row for each task of each quantity [task]."""
    return [
        (step, task, name, value)
        for name, values in quantities.items()
        for task, value in enumerate(values.tolist())
    ]
