"""One whole update of D2R, written as obviously as possible, and its recording as a golden file.

Two tensors a module (m, and mbar with the module's own computation detached), full mixes instead of
gathers, separate critics, a loop over groups, and an Adam step by hand: nothing here is shared with the
package.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

Params = dict[str, Tensor]

BASE_META: dict[str, Any] = {
    "num_tasks": 3,
    "num_modules": 5,
    "module_dim": 6,
    "encoder_dim": 7,
    "router_dim": 8,
    "top_k": 2,
    "batch_per_task": 4,
    "obs_dim": 39,
    "action_dim": 4,
    "lr_actor": 3e-4,
    "lr_critic": 4e-4,
    "lr_alpha": 1e-4,
    "discount": 0.99,
    "target_tau": 0.005,
    "grad_clip": 1.0,
    "target_entropy": -4.0,
    "max_log_alpha": 0.0,
    "task_loss_threshold": 3000.0,
}


def groups(values: Tensor, count: int) -> list[Tensor]:
    """Split [..., N(N+1)/2] into groups of 1, 2, ..., N."""
    return list(values.split(list(range(1, count + 1)), dim=-1))


def random_params(meta: dict[str, Any], inputs: int, outputs: int, rng: np.random.Generator) -> Params:
    """Random weights under the names of a golden file."""
    n, d, e, r = meta["num_modules"], meta["module_dim"], meta["encoder_dim"], meta["router_dim"]
    shapes = {
        "state_encoder.0": (e, inputs),
        "state_encoder.1": (e, e),
        "task_encoder": (e, meta["num_tasks"]),
    }
    shapes |= {"router.0": (r, e), "router.1": (r, r), "router.2": (n * (n + 1) // 2, r)}
    shapes |= {f"module.{i}": (d, e if i == 1 else d) for i in range(1, n + 1)}
    shapes |= {"head": (outputs, d)}
    params = {}
    for name, shape in shapes.items():
        params[f"{name}.weight"] = torch.from_numpy(rng.normal(0, 1.2 / shape[1] ** 0.5, shape))
        params[f"{name}.bias"] = torch.from_numpy(rng.normal(0, 0.1, shape[0]))
    return params


def forward(
    meta: dict[str, Any], p: Params, x: Tensor, route: Tensor | None, train: bool
) -> dict[str, Tensor]:
    """Run the network on [batch, task, inputs]; ``route`` is k-hot, or none for the deterministic one."""
    n = meta["num_modules"]

    def linear(name: str, y: Tensor) -> Tensor:
        return y @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    state = linear("state_encoder.1", linear("state_encoder.0", x).relu())
    task = linear("task_encoder", torch.eye(meta["num_tasks"], dtype=x.dtype)).expand_as(state)
    seen = task * state if meta.get("cond_ob", True) else task
    logits = linear("router.2", linear("router.1", linear("router.0", seen).relu()).relu())
    chosen, weights, shares, suitable = [], [], [], []
    given = groups(route, n) if route is not None else [None] * n
    for group, replayed in zip(groups(logits, n), given, strict=True):
        c = group.shape[-1]
        k = c if meta["top_k"] is None else min(meta["top_k"], c)
        if replayed is None:
            mask = torch.zeros_like(group).scatter(-1, group.argsort(-1, descending=True)[..., :k], 1.0)
        else:
            mask = replayed
        chosen.append(mask)
        weights.append(group.masked_fill(mask == 0, -torch.inf).softmax(-1))
        shares.append(group.softmax(-1))
        suitable.append((group.softmax(-1) > 1 / (c + 1)).to(x.dtype))
    restricted = train and meta.get("resrouting", True)
    m = [linear("module.1", state.relu()).relu()]
    mbar = [m[0].detach()]

    def mix(index: int, branch: bool) -> Tensor:
        total = torch.zeros_like(m[0])
        for j in range(index + 1):
            source = m[j]
            if branch and restricted:
                g = suitable[index][..., j : j + 1]
                source = g * m[j] + (1 - g) * mbar[j]
            total = total + weights[index][..., j : j + 1] * source
        return total

    for i in range(2, n + 1):
        y = linear(f"module.{i}", mix(i - 2, True)).relu()
        shortcut = mix(i - 2, False) if meta.get("use_resnet", True) else torch.zeros_like(y)
        m.append(y + shortcut)
        mbar.append(y.detach() + shortcut)
    return {
        "output": linear("head", mix(n - 1, True)),
        "weights": torch.cat(weights, -1),
        "route": torch.cat(chosen, -1),
        "softmax": torch.cat(shares, -1),
    }


def policy(output: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """A tanh-Gaussian action and its log-probability."""
    mean, log_std = output.chunk(2, -1)
    normal = torch.distributions.Normal(mean, log_std.clamp(-20, 2).exp())
    raw = mean + normal.stddev * noise
    action = raw.tanh()
    return action, (normal.log_prob(raw) - torch.log(1 - action**2 + 1e-6)).sum(-1)


def random_route(meta: dict[str, Any], rng: np.random.Generator) -> Tensor:
    """A random k-hot route for every transition."""
    parts = []
    for c in range(1, meta["num_modules"] + 1):
        k = c if meta["top_k"] is None else min(meta["top_k"], c)
        scores = torch.from_numpy(rng.random((meta["batch_per_task"], meta["num_tasks"], c)))
        parts.append(torch.zeros_like(scores).scatter(-1, scores.argsort(-1)[..., :k], 1.0))
    return torch.cat(parts, -1)


def record(path: Path, seed: int, inputs_override: dict[str, Any] | None = None, **changes: Any) -> None:
    """Draw everything at random, make one update, and write it as a golden file."""
    meta = BASE_META | changes
    rng = np.random.default_rng(seed)
    b, n = meta["batch_per_task"], meta["num_tasks"]
    obs, act = meta["obs_dim"], meta["action_dim"]
    data = {
        name: torch.from_numpy(rng.normal(size=(b, n, size)))
        for name, size in (
            ("obs", obs),
            ("next_obs", obs),
            ("reward", 1),
            ("probe_actor", 2 * act),
            ("probe_q1", 1),
        )
    }
    data["action"] = torch.from_numpy(rng.uniform(-1, 1, (b, n, act)))
    data["terminal"] = torch.from_numpy(rng.integers(0, 2, (b, n, 1)).astype(float))
    data["stored_route"] = random_route(meta, rng)
    data["log_alpha"] = torch.from_numpy(-rng.random(n))
    data |= inputs_override or {}
    nets = {"actor": random_params(meta, obs, 2 * act, rng)}
    nets |= {name: random_params(meta, obs + act, 1, rng) for name in ("q1", "q2", "target_q1", "target_q2")}
    noise, next_noise = (torch.from_numpy(rng.normal(size=(b, n, act))) for _ in range(2))
    drawn = {name: random_route(meta, rng) for name in ("q1", "q2")}
    out: dict[str, Any] = {"meta": json.dumps(meta)}
    out |= {f"in/{name}": value for name, value in data.items()}
    out |= {f"before/{net}/{name}": value for net, params in nets.items() for name, value in params.items()}
    out |= {"update/noise_actor": noise, "update/noise_next_action": next_noise}
    out |= {f"update/sampled_route_{name}": value for name, value in drawn.items()}

    out |= forwards(meta, nets, data)
    out |= update(meta, nets, data, noise, next_noise, drawn)
    np.savez(path, **{k: v.detach().numpy() if isinstance(v, Tensor) else v for k, v in out.items()})


def forwards(meta: dict[str, Any], nets: dict[str, Params], data: dict[str, Tensor]) -> dict[str, Any]:
    """Forward values and gradients of the actor and the first critic."""
    out: dict[str, Any] = {}
    for mode in ("eval", "train"):
        for net in ("actor", "q1"):
            x = data["obs"] if net == "actor" else torch.cat([data["obs"], data["action"]], -1)
            for kind, route in (("deterministic", None), ("stored", data["stored_route"])):
                p = {name: value.clone().requires_grad_() for name, value in nets[net].items()}
                result = forward(meta, p, x, route, mode == "train")
                (result["output"] * data[f"probe_{net}"]).sum().backward()
                prefix = f"forward/{mode}/{net}/{kind}"
                out |= {f"{prefix}/{name}": value for name, value in result.items()}
                out |= {f"{prefix}/grad/{name}": value.grad for name, value in p.items()}
    return out


def update(
    meta: dict[str, Any],
    nets: dict[str, Params],
    data: dict[str, Tensor],
    noise: Tensor,
    next_noise: Tensor,
    drawn: dict[str, Tensor],
) -> dict[str, Any]:
    """The losses, one backward pass for each network, and Adam's first step."""
    n = meta["num_tasks"]
    learn = {
        name: {k: v.clone().requires_grad_() for k, v in nets[name].items()} for name in ("actor", "q1", "q2")
    }
    log_alpha = data["log_alpha"].clone().requires_grad_()
    alpha = log_alpha.detach().exp()
    weight = n * torch.softmax(-log_alpha.detach(), 0)
    with torch.no_grad():
        next_action, next_log_prob = policy(
            forward(meta, learn["actor"], data["next_obs"], None, True)["output"], next_noise
        )
        x = torch.cat([data["next_obs"], next_action], -1)
        values = [
            forward(meta, nets[f"target_{q}"], x, None, True)["output"].squeeze(-1) for q in ("q1", "q2")
        ]
        bootstrap = torch.minimum(*values) - alpha * next_log_prob
        target = (
            data["reward"].squeeze(-1) + meta["discount"] * (1 - data["terminal"].squeeze(-1)) * bootstrap
        )
    x = torch.cat([data["obs"], data["action"]], -1)
    q_loss = {}
    for q in ("q1", "q2"):
        value = forward(meta, learn[q], x, drawn[q], True)["output"].squeeze(-1)
        q_loss[q] = weight * ((value - target) ** 2).mean(0)
    action, log_prob = policy(
        forward(meta, learn["actor"], data["obs"], data["stored_route"], True)["output"], noise
    )
    fixed = {q: {k: v.detach() for k, v in learn[q].items()} for q in ("q1", "q2")}
    x = torch.cat([data["obs"], action], -1)
    q_new = torch.minimum(
        *(forward(meta, fixed[q], x, None, True)["output"].squeeze(-1) for q in ("q1", "q2"))
    )
    policy_loss = weight * (alpha * log_prob - q_new).mean(0)
    alpha_loss = -log_alpha * (log_prob.detach().mean(0) + meta["target_entropy"])
    task_loss = alpha_loss + policy_loss + q_loss["q1"] + q_loss["q2"]
    keep = torch.ones(n, dtype=torch.bool)
    if meta["task_loss_threshold"] is not None:
        keep = task_loss.detach() <= meta["task_loss_threshold"]
    loss = (task_loss * keep).mean()
    loss.backward()
    out = {
        "update/task_loss": task_loss,
        "update/alpha_loss": alpha_loss.mean(),
        "update/policy_loss": policy_loss.mean(),
        "update/qf1_loss": q_loss["q1"].mean(),
        "update/qf2_loss": q_loss["q2"].mean(),
        "update/loss": loss,
        "update/grad/log_alpha": log_alpha.grad.clone(),
    }

    def step(parameters: list[Tensor], rate: float) -> tuple[Tensor, list[Tensor]]:
        norm = torch.sqrt(sum((p.grad**2).sum() for p in parameters))
        scale = min(1.0, meta["grad_clip"] / (float(norm) + 1e-6))
        moved = []
        for p in parameters:
            g = p.grad * scale
            m_hat, v_hat = 0.1 * g / (1 - 0.9), 0.001 * g**2 / (1 - 0.999)
            moved.append(p.detach() - rate * m_hat / (v_hat.sqrt() + 1e-8))
        return norm, moved

    for net, params in learn.items():
        out |= {f"update/grad/{net}/{name}": value.grad for name, value in params.items()}
        norm, moved = step(list(params.values()), meta["lr_actor"] if net == "actor" else meta["lr_critic"])
        out[f"update/grad_norm/{net}"] = norm
        out |= {f"after/{net}/{name}": value for name, value in zip(params, moved, strict=True)}
    for q in ("q1", "q2"):
        for name, old in nets[f"target_{q}"].items():
            out[f"after/target_{q}/{name}"] = old + meta["target_tau"] * (out[f"after/{q}/{name}"] - old)
    norm, (moved,) = step([log_alpha], meta["lr_alpha"])
    out["update/grad_norm/log_alpha"] = norm
    new = moved if meta["max_log_alpha"] is None else moved.clamp(max=meta["max_log_alpha"])
    out |= {"after/log_alpha": new, "after/tau": n * torch.softmax(-new, 0)}
    return out


def rerecord(given: dict[str, Any]) -> dict[str, np.ndarray]:
    """Recompute the forward, gradient and update arrays of a recorded file from its inputs."""
    meta = json.loads(str(given["meta"]))
    tensors = {k: torch.from_numpy(np.asarray(v, dtype=np.float64)) for k, v in given.items() if k != "meta"}
    data = {k.removeprefix("in/"): v for k, v in tensors.items() if k.startswith("in/")}
    nets: dict[str, Params] = {}
    for key, value in tensors.items():
        if key.startswith("before/") and key.count("/") == 2:
            _, net, name = key.split("/")
            nets.setdefault(net, {})[name] = value
    drawn = {q: tensors[f"update/sampled_route_{q}"] for q in ("q1", "q2")}
    noise, next_noise = tensors["update/noise_actor"], tensors["update/noise_next_action"]
    out = forwards(meta, nets, data) | update(meta, nets, data, noise, next_noise, drawn)
    return {k: v.detach().numpy() for k, v in out.items()}
