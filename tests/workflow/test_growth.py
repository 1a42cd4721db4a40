"""The package grows, and what was run before stays what it is: a copy of the source is really changed, then used."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from d2r.config.networks import network_classes
from d2r.config.schema import RunConfig, RunGroup, Scale

from .conftest import RUNS, SCALE, SOURCE, Project

KEPT = (
    "d2r",
    "config",
    "tests/golden",
    "results/released",
    "requirements-cpu.lock",
    "requirements-cuda.lock",
)
LITE = "results/released/lite"
RUN = "mt10-fixed/d2r/seed1"
WORDS = re.compile(r"^(description|summary|source):.*\n(?:[ ]+.*\n)*", re.MULTILINE)
ADDED = {
    "new-variant": "kind: variant\nextends: d2r\nnetwork: {num_modules: 4}\n",
    "new-baseline": "kind: baseline\nnetwork: {type: film}\n",
}


def levels() -> list[type[BaseModel]]:
    """Every class of the configuration from which a run's or a scale's is made, and those that they extend."""
    parts = [RunConfig, Scale, RunGroup, *network_classes().values()]
    parts += [
        field.annotation for field in RunConfig.model_fields.values() if inspect.isclass(field.annotation)
    ]
    bases = dict.fromkeys(base for part in parts for base in part.__mro__)
    return [base for base in bases if issubclass(base, BaseModel) and base.__module__.startswith("d2r.")]


def add_a_key_at_every_level(root: Path) -> None:
    for model in levels():
        path = root / Path(inspect.getfile(model)).relative_to(SOURCE)
        text = path.read_text(encoding="utf-8")
        head = re.compile(rf'^class {model.__name__}\(.*?\):\n    """.*?"""\n', re.MULTILINE | re.DOTALL)
        key = f"\n    new_in_{model.__name__.lower()}: bool = False\n"
        grown, count = head.subn(lambda found, key=key: found.group() + key, text)
        assert count == 1, model
        path.write_text(grown, encoding="utf-8")


def say_everything_otherwise(config: Path) -> None:
    for path in config.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(
            WORDS.sub(lambda found: f"{found.group(1)}: Said otherwise.\n", text), encoding="utf-8"
        )


def add_methods(config: Path) -> None:
    for name, rest in ADDED.items():
        about = f"id: {name}\ntitle: New {name}\nsource: Ours.\nsummary: New.\n"
        (config / "methods" / f"{name}.yaml").write_text(about + rest, encoding="utf-8")


def take_policies_from_the_remote(root: Path) -> None:
    """What ``dvc pull`` does, without a repository."""
    lock = yaml.safe_load((SOURCE / "workflow/train/dvc.lock").read_text(encoding="utf-8"))
    (folder,) = (out for out in lock["stages"]["train@lite"]["outs"] if out["path"] == f"{LITE}/policies")
    store = root / "results/released/remote/files/md5"
    for entry in json.loads((store / folder["md5"][:2] / folder["md5"][2:]).read_bytes()):
        target = root / LITE / "policies" / entry["relpath"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(store / entry["md5"][:2] / entry["md5"][2:], target)


class Grown:
    """The copy, and commands of its own source."""

    def __init__(self, root: Path):
        self.root = root
        self.environment = {**os.environ, "PYTHONPATH": str(root)}
        self.environment.pop("D2R_ROOT", None)

    def python(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.root, env=self.environment, text=True, timeout=600,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def d2r(self, *arguments: str) -> str:
        return self.python("-m", "d2r.cli.main", *arguments)

    def released(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in (self.root / LITE).rglob("*")
            if path.is_file()
        }


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    root = tmp_path_factory.mktemp("grown")
    for name in KEPT:
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (SOURCE / name).is_dir():
            shutil.copytree(SOURCE / name, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(SOURCE / name, place)
    shutil.rmtree(root / LITE / "policies", ignore_errors=True)
    take_policies_from_the_remote(root)
    add_a_key_at_every_level(root)
    say_everything_otherwise(root / "config")
    add_methods(root / "config")
    return Grown(root)


def test_the_copy_has_grown(grown: Grown) -> None:
    said = json.loads(
        grown.python(
            "-c",
            """
import json
from d2r.config import load_scale, resolve_run
config = resolve_run(load_scale("lite"), "mt10-fixed", "d2r", 1)
print(json.dumps(config.model_dump(mode="json")))
""",
        )
    )
    assert (
        said["new_in_runconfig"]
        is said["sac"]["new_in_sacconfig"]
        is said["budget"]["new_in_budget"]
        is False
    )
    assert said["network"]["new_in_routedconfig"] is said["network"]["new_in_networkbase"] is False
    assert said["protocol"]["new_in_protocol"] is False
    assert said["protocol"]["description"] == "Said otherwise."
    methods = grown.d2r("methods")
    assert "new-variant" in methods
    assert "new-baseline" in methods


def test_released_runs_are_the_planned_ones_still(grown: Grown) -> None:
    states = json.loads(
        grown.python(
            "-c",
            f"""
import json
from pathlib import Path
from d2r.config import load_scale, plan_runs
from d2r.runs.progress import run_progress
scale = load_scale("lite")
print(json.dumps([run_progress(key, Path("{LITE}"), scale).status for key in plan_runs(scale)]))
""",
        )
    )
    assert set(states) == {"finished"}


def test_a_released_policy_is_evaluated_and_its_routes_are_drawn(grown: Grown) -> None:
    assert "reproduced" in grown.d2r("evaluate", f"{LITE}/runs/{RUN}")
    grown.d2r("routes", f"{LITE}/runs/{RUN}")
    assert (grown.root / "routes/lite" / RUN / "routes.svg").is_file()


def test_tables_and_page_are_the_released_ones(grown: Grown) -> None:
    before = grown.released()
    for command in ("collect", "tables", "report"):
        grown.d2r(command, "--results", LITE)
    changed = [name for name, content in grown.released().items() if before.get(name) != content]
    assert not changed


@pytest.mark.slow
def test_a_reviewer_finds_nothing_wrong_with_the_release(grown: Grown) -> None:
    said = json.loads(grown.d2r("verify", "artifact", LITE, "--json"))
    assert said["passed"]
    verdicts = {line["check"]: line["verdict"] for line in said["checks"]}
    for check in ("manifest", "runs", "plan", "configuration", "numbers", "policies", "tables"):
        assert verdicts[check] == "ok", said


def test_snakemake_trains_no_run_again(grown: Grown, project: Project) -> None:
    assert project.snakemake("all").returncode == 0
    assert len(project.starts()) == len(RUNS)
    project.forget_starts()
    say_everything_otherwise(project.root / "config")
    add_methods(project.root / "config")
    project.environment["PYTHONPATH"] = str(grown.root)
    schema = project.root / "config/schema/scales.json"
    code = "import json; from d2r.config.file_schemas import file_schemas; print(json.dumps(file_schemas()['scales']))"
    schema.write_text(grown.python("-c", code))
    again = project.snakemake("all")
    assert again.returncode == 0, again.stdout
    assert project.starts() == []
    scale = project.root / "config/scales/smoke.yaml"
    scale.write_text(SCALE.replace("protocol:", "sac: {batch_per_task: 64}\nprotocol:"))
    assert project.snakemake("all").returncode == 0
    assert len(project.starts()) == len(RUNS), "a value that changed trains every run again"
