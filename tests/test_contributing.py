"""CONTRIBUTING.md followed to the letter, in a copy of the source: what it says is enough is enough."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1]
KEPT = (
    "d2r", "config", "docs", "tests", "results/released/lite", "pyproject.toml", "Makefile",
    "requirements-cpu.lock", "requirements-cuda.lock", "README.md",
)  # fmt: skip

ABLATION = """\
id: d2r-n6
title: D2R, 6 modules
kind: variant
extends: d2r
source: Ours.
summary: Six modules in place of sixteen.
network: {num_modules: 6}
"""

BASELINE = """\
id: scaled
title: Scaled features
kind: baseline
source: Ours.
summary: A layer whose features each task scales.
network: {type: task-scale}
mt50: {hidden_dim: 600}
"""

NETWORK = '''\
"""A layer whose features each task scales: output = W2 (s_task * ReLU(W1 x + b1)) + b2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from d2r.config.networks import NetworkBase, Size
from d2r.networks.base import Network, Output, architecture
from d2r.networks.maker import Maker
from d2r.networks.parts import OfTasks
from d2r.networks.routing import DETERMINISTIC, RouteRule


class TaskScaleConfig(NetworkBase):
    """A layer that tasks scale."""

    type: Literal["task-scale"] = "task-scale"
    hidden_dim: Size = 400


@architecture(TaskScaleConfig)
class TaskScaleNetwork(Network):
    """E copies of a layer, a scale of its features for each task, and the output layer."""

    def __init__(self, config: TaskScaleConfig, make: Maker):
        super().__init__(make)
        self.hidden = make.linear(make.inputs, config.hidden_dim)
        self.scale = make.normal(make.num_tasks, config.hidden_dim)
        self.head = make.head(config.hidden_dim)

    @property
    def by_task(self) -> Mapping[str, OfTasks]:
        """The scales."""
        return {"scale": OfTasks(1)}

    @property
    def output_layers(self) -> Sequence[nn.Module]:
        """The last layer."""
        return (self.head,)

    def forward(self, x: Tensor, rule: RouteRule = DETERMINISTIC) -> Output:
        """Map [E or 1, batch, task, inputs] to [E, batch, task, outputs]."""
        return Output(self.head(self.hidden(x, relu=True) * self.scale.unsqueeze(1)))
'''

REFERENCE = '''\
"""Features scaled by the task."""

import torch.nn.functional as F

from d2r.networks.task_scale import TaskScaleConfig

from .references import reference


@reference(TaskScaleConfig(hidden_dim=12))
def task_scale(network, x, task):
    features = F.relu(F.linear(x, network.hidden.weight[0], network.hidden.bias[0]))
    return F.linear(network.scale[0, task] * features, network.head.weight[0], network.head.bias[0])
'''

RESOLVED = """
from d2r.config import load_scale, resolve_run
from d2r.planning.cost import memory_mb
for benchmark in ("mt10-rand", "mt50-rand"):
    config = resolve_run(load_scale("paper"), benchmark, "scaled", 1)
    assert memory_mb(config) > 0
    print(config.network.type, config.network.hidden_dim)
print(resolve_run(load_scale("smoke"), "mt10-rand", "scaled", 1).network.hidden_dim)
"""


class Copy:
    """The source in another place, and commands there."""

    def __init__(self, root: Path):
        self.root = root
        for name in KEPT:
            if (SOURCE / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "golden")
                shutil.copytree(SOURCE / name, root / name, ignore=ignored)
            else:
                shutil.copy(SOURCE / name, root / name)

    def add(self, path: str, text: str) -> None:
        assert not (self.root / path).exists()
        (self.root / path).write_text(text, encoding="utf-8")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.root)}
        environment.pop("D2R_ROOT", None)
        return subprocess.run(
            [sys.executable, "-P", *arguments], cwd=self.root, env=environment, text=True, timeout=1200,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def succeed(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def fail(self, *tests: str) -> str:
        done = self.run("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
        assert done.returncode == 1, done.stdout
        return done.stdout

    def make_docs(self) -> None:
        """The commands of that target; what they depend on is there."""
        makefile = (self.root / "Makefile").read_text(encoding="utf-8")
        recipe = makefile.split("\ndocs:")[1].split("\n\n")[0].splitlines()[1:]
        for command in recipe:
            program, *arguments = command.split()
            assert program == "python"
            self.succeed(*arguments)

    def d2r(self, *arguments: str) -> str:
        return self.succeed("-m", "d2r.cli.main", *arguments)

    def train(self, method: str) -> None:
        self.d2r(
            "train", "--benchmark", "mt10-rand", "--method", method, "--seed", "1", "--scale", "smoke",
            "--results", "results/smoke",
        )  # fmt: skip
        assert (self.root / "results/smoke/runs/mt10-rand" / method / "seed1/run.json").is_file()


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "copy")


CHECKS = ("tests/test_documents.py", "tests/networks", "tests/config", "tests/findings/test_claims.py")


@pytest.mark.slow
def test_an_ablation_is_one_file(copy: Copy) -> None:
    copy.add("config/methods/d2r-n6.yaml", ABLATION)
    assert "run `make docs`" in copy.fail("tests/test_documents.py")
    copy.make_docs()
    copy.succeed("-m", "pytest", "-q", *CHECKS)
    assert "d2r-n6" in copy.d2r("methods")
    assert "`d2r-n6`" in (copy.root / "docs/methods.md").read_text(encoding="utf-8")
    copy.train("d2r-n6")


@pytest.mark.slow
def test_a_baseline_is_a_network_a_method_and_a_slow_reference(copy: Copy) -> None:
    copy.add("d2r/networks/task_scale.py", NETWORK)
    copy.add("config/methods/scaled.yaml", BASELINE)
    copy.make_docs()
    said = copy.fail("tests/networks/test_every_architecture.py", "-k", "there_is_a_slow_form")
    assert "network type 'task-scale' has no slow, obvious reference" in said
    assert "@reference" in said
    assert "in tests/networks/test_task_scale.py" in said
    copy.add("tests/networks/test_task_scale.py", REFERENCE)
    copy.succeed("-m", "pytest", "-q", *CHECKS)
    assert "scaled" in copy.d2r("methods")
    assert copy.succeed("-c", RESOLVED).split() == ["task-scale", "400", "task-scale", "600", "40"]
    copy.train("scaled")
    wrong = REFERENCE.replace("* features", "+ features")
    (copy.root / "tests/networks/test_task_scale.py").write_text(wrong, encoding="utf-8")
    said = copy.fail("tests/networks/test_every_architecture.py", "-k", "slow_obvious_form and task-scale")
    assert "2 failed" in said
    method = copy.root / "config/methods/scaled.yaml"
    method.write_text(BASELINE.replace("type: task-scale", "type: task-scal"), encoding="utf-8")
    done = copy.run("-m", "d2r.cli.main", "methods")
    assert done.returncode == 2
    assert "unknown type 'task-scal'; did you mean 'task-scale'" in done.stdout
