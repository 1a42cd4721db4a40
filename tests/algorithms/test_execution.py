"""Other ways to execute an update: what they may change, what they must not, and where they are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from d2r.algorithms.draws import Draws
from d2r.algorithms.execution.update import Updates
from d2r.algorithms.replay import Batch
from d2r.algorithms.sac import MultiTaskSAC
from d2r.cli.main import main
from d2r.config import load_method, method_ids
from d2r.config.execution import PLAIN, Execution
from d2r.config.load import resolve_network
from d2r.networks.registry import build_actor, build_critics
from d2r.verify.golden import TOLERANCE, verify_file
from tests.support.one_seed import one_seed

TASKS, SIZE, WIDTH = 10, 32, 0.16
GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.npz"))
ROUNDING = 2.0**-8
"""Relative error of rounding to bf16, whose significand has 8 bits."""


def learner(method: str, execution: Execution) -> MultiTaskSAC:
    """A narrow learner whose outputs are of the order of its hidden units, not of its tiny initial heads."""
    generator = torch.Generator().manual_seed(0)
    network = resolve_network(method, "mt10", WIDTH)
    actor, critics = build_actor(network, TASKS, generator), build_critics(network, TASKS, generator)
    with torch.no_grad():
        for name, parameter in [*actor.named_parameters(), *critics.named_parameters()]:
            if name.startswith("head"):
                parameter.mul_(100)
    return MultiTaskSAC(actor, critics, load_method(method).sac, execution.autocast != "none")


def inputs(sac: MultiTaskSAC, seed: int = 1) -> tuple[Batch, Draws]:
    generator = torch.Generator().manual_seed(seed)
    obs, next_obs = torch.randn(2, SIZE, TASKS, 39, generator=generator)
    action = torch.rand(SIZE, TASKS, 4, generator=generator) * 2 - 1
    sources = None
    if sac.actor.route_shape is not None and sac.config.policy_route == "stored":
        with torch.no_grad():
            route = sac.actor(obs.unsqueeze(0), sac.sampled(sac.actor, SIZE, [generator])).route
        assert route is not None
        sources = route.sources[0].to(torch.uint8)
    reward = torch.rand(SIZE, TASKS, generator=generator)
    batch = one_seed(Batch(obs, action, reward, next_obs, torch.zeros(SIZE, TASKS), sources))
    return batch, sac.draw(batch, [generator])


def values(sac: MultiTaskSAC) -> tuple[Tensor, Tensor]:
    """What the actor answers on its stored or drawn route, and the critics on theirs."""
    batch, draws = inputs(sac)
    taken = torch.cat([batch.obs, batch.action], -1)
    return (
        sac.value(sac.actor, batch.obs, draws.actor_rule),
        sac.value(sac.critics, taken, draws.critic_rule),
    )


@pytest.mark.parametrize("method", method_ids())
def test_bf16_is_as_close_as_its_rounding_and_plain_is_exact(method: str) -> None:
    """Errors of some ten products in a row, each with operands rounded, against the size of the answers."""
    plain, again, short = (learner(method, e) for e in (PLAIN, Execution(), Execution(autocast="bf16")))
    for exact, same, rounded in zip(values(plain), values(again), values(short), strict=True):
        assert torch.equal(exact, same)
        assert rounded.dtype == torch.float32
        error = float((rounded - exact).detach().norm() / exact.detach().norm())
        assert 0 < error < 8 * ROUNDING
    info = short.update(*inputs(short))
    results = [*info.losses, *(p for n in (short.actor, short.critics) for p in n.parameters())]
    moments = [value for state in short.optimiser.state.values() for value in state.values()]
    assert {t.dtype for t in (*results, *moments)} == {torch.float32}


TRAIN = ("train", "--benchmark", "mt10-rand", "--method", "d2r", "--seed", "1")
LEARNER = ("bench", "learner", "--method", "mtsac")
VERIFY = ("verify", "golden", str(GOLDEN[0]))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((*command, option), option)
        for command in (TRAIN, LEARNER, ("bench", "train"), VERIFY)
        for option in ("--graph", "--tf32")
    ]
    + [
        ((*TRAIN, "--autocast", "fp16"), "fp16"),
        ((*LEARNER, "--device", "tpu"), "--device tpu"),
        ((*VERIFY, "--autocast", "bf16"), "float64"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_missing_compiler_is_told_in_one_line(tmp_path: Path) -> None:
    """In a process of its own, without what was compiled before."""
    environment = os.environ | {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "d2r.cli.main", *VERIFY, "--compile"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("d2r: error: --compile: ")
    assert "compiler" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_official_updates_are_reproduced_when_compiled(path: Path) -> None:
    worst = max(verify_file(path, Execution(compile=True)), key=lambda c: c.error)
    assert worst.error <= TOLERANCE, worst


@pytest.mark.slow
def test_compiled_losses_are_the_losses() -> None:
    """To float32 rounding, with what golden files lack: a plain network, and a gradient of each task."""
    plain, compiled = learner("pcgrad", PLAIN), learner("pcgrad", PLAIN)
    seed = 0
    updates = Updates(compiled, Execution(compile=True), lambda: inputs(compiled, seed))
    for seed in (1, 2):
        expected, info = plain.update(*inputs(plain, seed)), updates.update()
        for a, b in zip((*expected.losses, *expected[1:]), (*info.losses, *info[1:]), strict=True):
            torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-5)
