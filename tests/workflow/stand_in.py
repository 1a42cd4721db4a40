"""Stands in for ``d2r`` where only the workflow is under test: runs take a moment and hold invented numbers.

``train`` keeps its contract: state that survives a signal, exit status 143 or 130 after it, outputs by rename with
``run.json`` last. Every start is noted in ``starts.log``. What the environment asks for: ``STAND_IN_SECONDS`` per
run, ``STAND_IN_FAILS`` the method that crashes.
"""

import argparse
import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

TICK = 0.05
CHECKPOINT = "checkpoint-of-a-stand-in"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def train(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    for name in ("scale", "benchmark", "method", "results"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seed", dest="seeds")
    parser.add_argument("--seeds")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--graph", action="store_true")
    parser.add_argument("--record-failure", action="store_true")
    args = parser.parse_args(arguments)
    if os.environ.get("STAND_IN_FAILS") == args.method:
        print("the stand-in was asked to fail")
        return 1
    from d2r.config import RunKey, load_scale, resolve_run
    from d2r.config.seeds import parse_seeds

    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: signals.append(received))
    seeds = parse_seeds(args.seeds)
    keys = [RunKey(args.scale, args.benchmark, args.method, seed) for seed in seeds]
    results = Path(args.results)
    done: dict[RunKey, int] = {}
    with Path("jobs.log").open("a") as log:
        log.write(f"{args.benchmark}/{args.method}/{args.seeds} {args.device}\n")
    for key in keys:
        state = key.state_folder(results)
        write(state / "lock", f"{os.getpid()} on {os.uname().nodename}\n")
        checkpoint = state / CHECKPOINT
        done[key] = int(checkpoint.read_text()) if checkpoint.exists() else 0
        with Path("starts.log").open("a") as log:
            log.write(f"{args.benchmark}/{args.method}/seed{key.seed} {done[key]}\n")
    started = datetime.now(UTC).isoformat()
    steps = max(1, round(float(os.environ.get("STAND_IN_SECONDS", "0")) / TICK))
    while min(done.values()) < steps:
        time.sleep(TICK)
        for key in keys:
            done[key] = step = min(steps, done[key] + 1)
            state = key.state_folder(results)
            write(state / CHECKPOINT, str(step))
            progress = {"step": step, "steps": steps, "updates": step, "success": 0.25, "started": started}
            progress |= {
                "updated": datetime.now(UTC).isoformat(),
                "steps_per_second": 1 / TICK,
                "pid": os.getpid(),
            }
            write(state / "progress.json", json.dumps(progress))
        if signals:
            return 128 + signals[0]
    for key in keys:
        config = resolve_run(load_scale(args.scale), args.benchmark, args.method, key.seed)
        publish(key, config, key.folder(results), started, config.budget.steps)
    return 0


def publish(key, config, folder: Path, started: str, steps: int) -> None:
    from d2r.config import stated
    from d2r.runs.folders import hashes_of
    from d2r.runs.record import SCHEMA, RunRecord

    texts = {
        "metrics.csv": f"step,task,quantity,value\n{steps},reach-v3,success,0.5\n",
        "evaluation.csv": "task,episode,success,return\nreach-v3,0,1,3.0\nreach-v3,1,0,1.0\n",
        "timing.csv": "step,quantity,value\n",
        "routes.csv": "step,task,target,source,weight\n",
        "policy.safetensors": f"policy of {key}",
    }
    for name, text in texts.items():
        write(folder / name, text)
    record = RunRecord(
        schema=SCHEMA, **key._asdict(), protocol=config.protocol.id, status="finished", **stated(config).model_dump(),
        steps=steps, updates=steps, packages={}, dirty=False, cpu={}, started=started,
        ended=datetime.now(UTC).isoformat(), parameters={"actor": 1, "critic": 1}, failure=None,
        outputs=hashes_of({name: text.encode() for name, text in texts.items()}),
    )  # fmt: skip
    write(folder / "run.json", record.to_bytes().decode())


def collect(results: Path) -> None:
    from d2r.runs.layout import COLLECTED_TABLES, collected_path

    runs = sorted(results.glob("runs/*/*/seed*/metrics.csv"))
    for name in COLLECTED_TABLES:
        write(collected_path(results, name), "".join(f"{p.parent.relative_to(results)}\n" for p in runs))


def derive(results: Path, target: str) -> None:
    from d2r.runs.layout import collected_path

    write(results / target, collected_path(results, "runs").read_text())


def main() -> int:
    command, *arguments = sys.argv[1:]
    if command == "train":
        return train(arguments)
    if command == "export":
        folder = Path(arguments[1])
        assert (folder / "run.json").is_file()
        with Path("starts.log").open("a") as log:
            log.write(f"learner/{folder.parts[-2]}/{folder.name} 0\n")
        write(folder / "learner.safetensors", f"learner of {folder}")
        return 0
    if command in ("plan", "release", "status"):
        from d2r.cli.main import main as real

        return real()
    results = Path(arguments[1])
    if command == "collect":
        collect(results)
    else:
        targets = {
            "tables": ("tables/main.csv", "metrics/curves.csv", "metrics/success/mt10-rand/d2r.json"),
            "figures": ("figures/curves.svg",),
            "report": ("report/index.html",),
        }
        for target in targets[command]:
            derive(results, target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
