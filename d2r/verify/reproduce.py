"""A golden file's update, made again by the learner that trains: alone, or as one seed of several.

The other seeds have parameters of their own, and for transitions and draws those of the file, moved along the batch and
scaled; nothing of theirs may reach the file's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from d2r.algorithms.draws import Draws
from d2r.algorithms.execution.recorded import WARM_UPS
from d2r.algorithms.execution.update import Updates
from d2r.algorithms.members import for_members
from d2r.algorithms.replay import Batch
from d2r.algorithms.sac import MultiTaskSAC, task_weights
from d2r.config.execution import Execution
from d2r.networks.base import Output
from d2r.networks.d2r.levels import D2RNetwork
from d2r.networks.routing import DETERMINISTIC, Replayed


class Reproduction:
    """A learner of which the seed at one place stands where the file's did.

    Args:
        learner: of networks with the file's sizes; everything is computed where and as precisely as its parameters are.
        given: the file's arrays, by name.
        place: of the file's seed among the learner's.
    """

    def __init__(self, learner: MultiTaskSAC, given: Mapping[str, Any], place: int):
        self.learner, self.given, self.place = learner, given, place
        self.inputs = {name[3:]: self._given(name) for name in given if name.startswith("in/")}

    def parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The seed's parameters under the file's names."""
        for net, network, member in self._networks():
            for name, parameter in named(network, member):
                yield f"{net}/{name}", parameter

    def arrays(self, execution: Execution) -> dict[str, Tensor]:
        """Everything that the file records, computed anew."""
        self._rewind()
        return self._forward_arrays() | self._update_arrays(execution)

    def _given(self, name: str) -> Tensor:
        return torch.from_numpy(self.given[name]).to(self.learner.log_alpha)

    def _beside(self, own: Tensor) -> Tensor:
        """[seed, ...] that holds ``own`` [batch, ...] in its place, and in others something else of its form."""

        def of(seed: int) -> Tensor:
            if seed == self.place:
                return own
            moved = own.roll(seed + 1, 0)
            return moved * (1 + 0.1 * (seed + 1)) if own.is_floating_point() else moved

        return torch.stack([of(seed) for seed in range(self.learner.seeds)])

    def _rewind(self) -> None:
        """Set all that an update moves, in place, to what it is before the recorded one."""
        with torch.no_grad():
            for name, parameter in self.parameters():
                parameter.copy_(torch.from_numpy(self.given[f"before/{name}"]))
            self.learner.log_alpha.copy_(self._beside(self.inputs["log_alpha"]))
            for moments in self.learner.optimiser.state.values():
                for value in moments.values():
                    value.zero_()

    def _networks(self) -> Iterator[tuple[str, D2RNetwork, int]]:
        """Names of a golden file, and the ensemble member that each one is here."""
        learner, place = self.learner, self.place
        for net, network, member in (
            ("actor", learner.actor, place),
            ("q1", learner.critics, 2 * place),
            ("q2", learner.critics, 2 * place + 1),
            ("target_q1", learner.targets, 2 * place),
            ("target_q2", learner.targets, 2 * place + 1),
        ):
            assert isinstance(network, D2RNetwork)
            yield net, network, member

    def _forward_arrays(self) -> dict[str, Tensor]:
        obs, action = self._beside(self.inputs["obs"]), self._beside(self.inputs["action"])
        observed = {"actor": obs, "q1": torch.cat([obs, action], -1)}
        computed: dict[str, Tensor] = {}
        for mode in ("eval", "train"):
            for name, network, member in self._networks():
                if name not in observed:
                    continue
                network.train(mode == "train")
                stored = self._beside(sources_of(network, self.inputs["stored_route"]))
                probe = self._beside(self.inputs[f"probe_{name}"])
                rules = {
                    "deterministic": DETERMINISTIC,
                    "stored": Replayed(for_members(stored, network.ensemble)),
                }
                for kind, rule in rules.items():
                    prefix = f"forward/{mode}/{name}/{kind}"
                    network.zero_grad()
                    output = network(for_members(observed[name], network.ensemble), rule)
                    (output.value * for_members(probe, network.ensemble)).sum().backward()
                    answers = forward_arrays(network, output, member)
                    computed |= {f"{prefix}/{key}": value for key, value in answers}
                    computed |= {
                        f"{prefix}/grad/{key}": value.clone()
                        for key, value in named(network, member, grad=True)
                    }
        self.learner.actor.train()
        self.learner.critics.train()
        return computed

    def _update_inputs(self) -> tuple[Batch, Draws]:
        inputs, actor, critics = self.inputs, self.learner.actor, self.learner.critics
        assert isinstance(actor, D2RNetwork)
        assert isinstance(critics, D2RNetwork)
        drawn = [self._given(f"update/sampled_route_q{twin}") for twin in (1, 2)]
        of_twins = torch.stack([self._beside(sources_of(critics, k_hot)) for k_hot in drawn], 1)
        stored = self._beside(sources_of(actor, inputs["stored_route"]))
        batch = Batch(
            self._beside(inputs["obs"]),
            self._beside(inputs["action"]),
            self._beside(inputs["reward"].squeeze(-1)),
            self._beside(inputs["next_obs"]),
            self._beside(inputs["terminal"].squeeze(-1)),
            stored,
        )
        noise, next_noise = (
            self._beside(self._given(f"update/{name}")) for name in ("noise_actor", "noise_next_action")
        )
        return batch, Draws(noise, next_noise, Replayed(stored), Replayed(of_twins.flatten(0, 1)), ())

    def _update_arrays(self, execution: Execution) -> dict[str, Tensor]:
        """The update as it is made in training; gradients are read before they are clipped."""
        learner, place = self.learner, self.place
        before_clipping: dict[str, Tensor] = {}
        clip = learner.clip

        def record_then_clip() -> tuple[Tensor, Tensor, Tensor]:
            for net, network, member in list(self._networks())[:3]:
                before_clipping.update(
                    {f"update/grad/{net}/{key}": g.clone() for key, g in named(network, member, grad=True)}
                )
            assert learner.log_alpha.grad is not None
            before_clipping["update/grad/log_alpha"] = learner.log_alpha.grad[place].clone()
            return clip()

        learner.clip = record_then_clip  # type: ignore[method-assign]
        batch, draws = self._update_inputs()
        updates = Updates(learner, execution, lambda: (batch, draws))
        if execution.graph:
            for _ in range(WARM_UPS):
                updates.update()
            self._rewind()
        info = updates.update()
        losses, log_alpha = info.losses, learner.log_alpha.detach()
        of_task = losses.of_task[place]
        computed = before_clipping | {
            "update/task_loss": of_task,
            "update/alpha_loss": losses.alpha[place].mean(),
            "update/policy_loss": losses.policy[place].mean(),
            "update/qf1_loss": losses.critics[place, 0].mean(),
            "update/qf2_loss": losses.critics[place, 1].mean(),
            "update/loss": torch.where(info.masked[place], 0.0, of_task).mean(),
            "update/grad_norm/actor": info.actor_norm[place],
            "update/grad_norm/q1": info.critic_norm[place, 0],
            "update/grad_norm/q2": info.critic_norm[place, 1],
            "update/grad_norm/log_alpha": info.alpha_norm[place],
            "after/log_alpha": log_alpha[place],
            "after/tau": task_weights(log_alpha[place]),
        }
        return computed | {f"after/{name}": value for name, value in self.parameters()}


def named(network: D2RNetwork, member: int, grad: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Parameters (or gradients) of one ensemble member under a golden file's names."""

    def of(parameter: Tensor) -> Tensor:
        value = parameter.grad if grad else parameter
        return (torch.zeros_like(parameter) if value is None else value)[member]

    assert network.router is not None
    assert network.task_encoder is not None
    layers = {f"state_encoder.{i}": layer for i, layer in enumerate(network.state_encoder)}
    layers |= {f"router.{i}": layer for i, layer in enumerate(network.router)}
    layers |= {"task_encoder": network.task_encoder, "module.1": network.first_module, "head": network.head}
    for name, layer in layers.items():
        for kind, parameter in layer.named_parameters():
            yield f"{name}.{kind}", of(parameter)
    for index in range(network.config.num_modules - 1):
        yield f"module.{index + 2}.weight", of(network.module_weight)[index]
        yield f"module.{index + 2}.bias", of(network.module_bias)[index]


def sources_of(network: D2RNetwork, k_hot: Tensor) -> Tensor:
    """Turn k-hot routes [..., N(N+1)/2] into indices [..., group, K]; a small group repeats its last candidate."""
    groups, width = [], network.top_k
    for of_group in torch.split(k_hot, list(range(1, network.config.num_modules + 1)), -1):
        size = of_group.shape[-1]
        chosen = of_group.topk(min(width, size)).indices
        groups.append(torch.nn.functional.pad(chosen, (0, max(0, width - size)), value=size - 1))
    return torch.stack(groups, -2)


def forward_arrays(network: D2RNetwork, output: Output, member: int) -> Iterator[tuple[str, Tensor]]:
    """What one member answered, under a golden file's names."""
    route = output.route
    assert route is not None

    group = torch.arange(network.config.num_modules, device=route.weights.device).unsqueeze(1)
    place = torch.arange(network.top_k, device=route.weights.device)

    def flat(per_candidate: Tensor) -> Tensor:
        return per_candidate[member][..., group >= group.T]

    taken = (place <= group).expand_as(route.weights).to(route.weights)
    spread = torch.zeros_like(route.logits)
    yield "output", output.value[member]
    yield "weights", flat(spread.scatter_add(-1, route.sources, route.weights))
    yield "route", flat(spread.scatter_add(-1, route.sources, taken))
    yield "softmax", flat(route.logits.softmax(-1))
