"""Run folders made of plain random numbers, in the exact format that training publishes.

Nothing here trains. The success of a task follows a logistic curve whose midpoint is the task's difficulty,
so that a method's level, a failed run, a missing seed and constant results can all be asked for by name.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from d2r.config import load_scale, resolve_run, stated
from d2r.runs.record import record_bytes

MT10 = (
    "reach-v3", "push-v3", "pick-place-v3", "door-open-v3", "drawer-open-v3", "drawer-close-v3",
    "button-press-topdown-v3", "peg-insert-side-v3", "window-open-v3", "window-close-v3",
)  # fmt: skip
MODULES = 6
REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / "config"

ROUTED = {"type": "routed", "num_modules": MODULES}
METHODS = {
    "d2r": {"title": "D2R", "kind": "variant", "network": ROUTED},
    "d2r-naive": {"title": "D2R, naive routing", "kind": "variant", "network": ROUTED},
    "d2r-no-resrouting": {
        "title": "D2R without ResRouting",
        "kind": "variant",
        "network": ROUTED,
    },
    "d2r-no-balance": {"title": "D2R without balancing", "kind": "variant", "network": ROUTED},
    "mtsac": {"title": "MT-SAC", "kind": "baseline", "network": {"type": "mlp"}},
    "softmod-deep": {
        "title": "Soft Modularization <deep> & co_1",
        "kind": "baseline",
        "network": {"type": "mlp"},
    },
}


@dataclass(frozen=True)
class Plan:
    """What to make up: levels from 0 (nothing solved) to 1 (all solved at once), or a constant success."""

    benchmarks: Sequence[str] = ("mt10-fixed", "mt10-rand")
    levels: Mapping[str, float] = field(default_factory=lambda: {"d2r": 0.7, "d2r-naive": 0.4, "mtsac": 0.3})
    constant: Mapping[str, float] = field(default_factory=dict)
    seeds: Sequence[int] = (1, 2, 3)
    missing: Sequence[tuple[str, str, int]] = ()
    failed: Sequence[tuple[str, str, int]] = ()
    steps: int = 800
    evaluations: int = 4
    scale: str = "smoke"
    without: Sequence[str] = ()
    """Quantities that the runs do not record."""
    two_tasks: bool = False
    from_the_start: bool = False
    """Whether there is an evaluation before the first step."""


def write_project(root: Path, plan: Plan) -> Path:
    """Write ``config/`` for the plan below ``root`` and return the folder ``results/<scale>``."""
    for kind in ("methods", "scales", "protocols", "benchmarks"):
        (root / "config" / kind).mkdir(parents=True, exist_ok=True)
    for path in (*CONFIG.glob("protocols/*.yaml"), *CONFIG.glob("benchmarks/*.yaml")):
        (root / "config" / path.relative_to(CONFIG)).write_text(path.read_text())
    for name, about in METHODS.items():
        data = {"id": name, "source": "synthetic", "summary": "synthetic", **about}
        (root / "config" / "methods" / f"{name}.yaml").write_text(yaml.safe_dump(data))
    scale = {
        "id": plan.scale,
        "description": "Synthetic runs.",
        "protocol": "d2r-official",
        "seeds": list(plan.seeds),
        "runs": [{"benchmarks": list(plan.benchmarks), "methods": list(plan.levels)}],
        "budget": {
            suite: {"steps": plan.steps, "warmup_steps": 10, "evaluate_every": plan.steps // plan.evaluations}
            for suite in ("mt10", "mt50")
        },
    }
    (root / "config" / "scales" / f"{plan.scale}.yaml").write_text(yaml.safe_dump(scale))
    return root / "results" / plan.scale


def write_runs(results: Path, plan: Plan) -> None:
    """Write every run folder of the plan below ``results``."""
    for benchmark in plan.benchmarks:
        for method, level in plan.levels.items():
            for seed in plan.seeds:
                if (benchmark, method, seed) not in plan.missing:
                    _write_run(results, plan, benchmark, method, level, seed)


def task_names(benchmark: str) -> list[str]:
    """Ten task names, or fifty for the MT50 benchmarks."""
    if benchmark.startswith("mt10"):
        return list(MT10)
    return [*MT10, *(f"task-{index}-v3" for index in range(11, 51))]


def _write_run(results: Path, plan: Plan, benchmark: str, method: str, level: float, seed: int) -> None:
    rng = np.random.default_rng([seed, *method.encode(), *benchmark.encode()])
    tasks = task_names(benchmark)[: 2 if plan.two_tasks else None]
    routed = METHODS[method.partition("+")[0]]["network"]["type"] == "routed"
    episodes = 1 if benchmark.endswith("fixed") else 4
    steps = np.linspace(0, plan.steps, plan.evaluations + 1).astype(int)[0 if plan.from_the_start else 1 :]
    difficulty = np.linspace(-0.5, 3.0, len(tasks)) - 3 * level + 0.4 * rng.standard_normal()
    failed = (benchmark, method, seed) in plan.failed

    def success(fraction: float) -> np.ndarray:
        if method in plan.constant:
            return np.full((len(tasks), episodes), plan.constant[method])
        chance = 1 / (1 + np.exp(4 * (difficulty + 1 - 2 * fraction)))
        return (rng.random((len(tasks), episodes)) < chance[:, None]).astype(float)

    metrics: list[tuple[object, ...]] = []
    routes: list[tuple[object, ...]] = []
    for step in steps[: 2 if failed else None]:
        outcome = success(step / plan.steps).mean(1)
        for index, task in enumerate(tasks):
            values = {
                "success": outcome[index],
                "return": 100 * outcome[index],
                "alpha": 0.2 + 0.5 * outcome[index],
            }
            if routed:
                used = 2 + index % 3 + level
                values |= {
                    "modules_used": used, "depth": used - 1, "route_entropy": 0.6, "top1_share": 0.7,
                    "route_change": 0.1, "agreement": 0.8, "blocked_share": 0.2,
                    "route_temperature": 1.2 - 0.4 * outcome[index], "multiply_adds": 1e5 * used,
                }  # fmt: skip
            metrics += [
                (step, task, name, value) for name, value in values.items() if name not in plan.without
            ]
            if routed:
                routes += _route(rng, step, task)
        metrics += [(step, "", "q_loss", 1 / (step or 1))]
        if routed:
            overall = {"route_jaccard": 0.4, "gradient_cosine": 0.05, "gradient_cosine_no_resrouting": -0.02}
            overall |= {"alpha_success_rho": 0.3}
            overall |= {f"module_grad_norm.{i}": 1.0 / i for i in range(1, MODULES + 1)}
            metrics += [
                (step, "", name, value) for name, value in overall.items() if name not in plan.without
            ]
    final = success(1.0)
    evaluation = [
        (task, episode, int(final[index, episode]), 100 * final[index, episode])
        for index, task in enumerate(tasks)
        for episode in range(episodes)
    ]
    folder = results / "runs" / benchmark / method / f"seed{seed}"
    folder.mkdir(parents=True)
    _write(folder / "metrics.csv", ("step", "task", "quantity", "value"), metrics)
    _write(folder / "evaluation.csv", ("task", "episode", "success", "return"), [] if failed else evaluation)
    _write(folder / "routes.csv", ("step", "task", "target", "source", "weight"), routes)
    _write(
        folder / "timing.csv",
        ("step", "quantity", "value"),
        [(plan.steps, "learner", 12.0), (plan.steps, "total", 100.0 + seed)],
    )
    outputs = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("metrics.csv", "evaluation.csv", "routes.csv", "timing.csv")
    } | {"policy.safetensors": "0" * 64}
    (folder / "run.json").write_bytes(record_bytes(_run_json(plan, benchmark, method, seed, failed, outputs)))


def _route(rng: np.random.Generator, step: int, task: str) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for target in [*range(2, MODULES + 1), "out"]:
        candidates = MODULES if target == "out" else int(target) - 1
        chosen = rng.choice(np.arange(1, candidates + 1), size=min(2, candidates), replace=False)
        share = rng.dirichlet(np.ones(len(chosen)))
        rows += [(step, task, target, source, weight) for source, weight in zip(chosen, share, strict=True)]
    return rows


def _run_json(
    plan: Plan, benchmark: str, method: str, seed: int, failed: bool, outputs: Mapping[str, str]
) -> dict[str, object]:
    config = resolve_run(load_scale(plan.scale), benchmark, method, seed)
    return {
        "schema": 2, "scale": plan.scale, "benchmark": benchmark, "method": method, "seed": seed,
        "protocol": "d2r-official", "status": "failed" if failed else "finished",
        **stated(config).model_dump(),
        "steps": plan.steps // 2 if failed else plan.steps, "updates": plan.steps // 2,
        "packages": {"torch": "2.13.0", "metaworld": "3.1.1", "mujoco": "3.3.0"},
        "commit": "0" * 40, "dirty": False, "cpu": {"model": "synthetic"}, "threads": 1, "device": "cpu",
        "started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:02:00+00:00", "resumes": 0,
        "parameters": {"actor": 1000, "critic": 1001},
        "failure": {"task": MT10[0], "step": plan.steps // 2, "quantity": "q_loss", "message": "not finite"}
        if failed else None,
        "outputs": dict(outputs),
    }  # fmt: skip


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
