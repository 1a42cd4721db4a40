"""A recorded update is the update: the same bits, whatever changes between two of them.

The recorder is a tape that keeps a CUDA graph's rules on the CPU; the capture itself needs a GPU.
"""

from __future__ import annotations

import copy
from operator import attrgetter
from pathlib import Path

import pytest
import torch
from torch import Tensor

from d2r.algorithms import sac as sac_module
from d2r.algorithms.execution.recorded import WARM_UPS, CudaGraphs
from d2r.algorithms.replay import Batch
from d2r.algorithms.sac import Diverged, MultiTaskSAC, UpdateInfo
from d2r.config import SacConfig
from d2r.config.execution import Execution
from d2r.config.networks import MlpConfig, NetworkConfig, PacoConfig, RoutedConfig
from d2r.errors import UserError
from d2r.kernel import library
from d2r.networks import module_stack
from d2r.networks.readers import DenseReaders
from d2r.networks.registry import build_actor, build_critics
from d2r.networks.routing import RoutedNetwork
from d2r.verify.golden import TOLERANCE, verify_file
from tests.algorithms.tape import Tape

TASKS, SIZE, UPDATES = 3, 8, WARM_UPS + 5
ROUTED = RoutedConfig(num_modules=5, module_dim=8, encoder_dim=12, router_dim=10)
GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.npz"))
NAME = attrgetter("type")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")


@pytest.fixture
def tapes(monkeypatch: pytest.MonkeyPatch) -> list[Tape]:
    """Record on tapes instead of CUDA graphs, with a GPU's operators and readers; the tapes that were begun."""
    begun: list[Tape] = []

    def begin() -> Tape:
        begun.append(Tape())
        return begun[-1]

    monkeypatch.setattr(sac_module, "CudaGraphs", begin)
    monkeypatch.setattr(library, "functions", lambda _: None)
    monkeypatch.setattr(module_stack, "readers_of", DenseReaders)
    return begun


def learner(config: NetworkConfig, graph: bool, device: str = "cpu") -> MultiTaskSAC:
    generator = torch.Generator().manual_seed(0)
    actor, critics = build_actor(config, TASKS, generator), build_critics(config, TASKS, generator)
    sac = SacConfig(lr_alpha=0.05, target_entropy=-20.0)
    return MultiTaskSAC(actor.to(device), critics.to(device), sac, Execution(graph=graph))


def batch(sac: MultiTaskSAC, number: int, size: int = SIZE) -> Batch:
    """Transitions and routes of an update; in the last but one a task has an extreme loss."""
    generator = torch.Generator().manual_seed(number)
    reward = torch.rand(size, TASKS, generator=generator)
    if number == UPDATES - 2:
        reward[:, 1] = 1e5
    obs, next_obs = torch.randn(2, size, TASKS, 39, generator=generator)
    action = torch.rand(size, TASKS, 4, generator=generator) * 2 - 1
    sources = None
    if sac.actor.route_shape is not None:
        with torch.no_grad():
            seen = obs.to(sac.log_alpha).unsqueeze(0)
            route = sac.actor(seen, sac.sampled(sac.actor, size, generator)).route
        assert route is not None
        sources = route.sources[0].to(torch.uint8)
    moved = [t.to(sac.log_alpha) for t in (obs, action, reward, next_obs, torch.zeros(size, TASKS))]
    return Batch(*moved, sources)


def update(sac: MultiTaskSAC, number: int, size: int = SIZE) -> UpdateInfo:
    data = batch(sac, number, size)
    return sac.update(data, sac.draw(data, torch.Generator().manual_seed(100 + number)))


def state(sac: MultiTaskSAC) -> list[Tensor]:
    """All that an update moves."""
    networks = [p.detach() for n in (sac.actor, sac.critics, sac.targets) for p in n.parameters()]
    moments = [value for one in sac.optimiser.state.values() for value in one.values()]
    return [*networks, sac.log_alpha.detach(), *moments]


def assert_same(one: MultiTaskSAC, two: MultiTaskSAC) -> None:
    for a, b in zip(state(one), state(two), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("config", [ROUTED, MlpConfig(hidden_dim=16), PacoConfig(hidden_dim=16)], ids=NAME)
def test_a_recorded_update_has_the_same_bits(tapes: list[Tape], config: NetworkConfig) -> None:
    """Routes differ at every update, and one leaves out a task, after which PaCo resets weights."""
    plain, recorded = learner(config, graph=False), learner(config, graph=True)
    infos = []
    for number in range(UPDATES):
        expected, info = update(plain, number), update(recorded, number)
        infos.append((info, [t.clone() for t in (*info.losses, info.masked, info.actor_norm)]))
        for a, b in zip((*expected.losses, *expected[1:]), (*info.losses, *info[1:]), strict=True):
            assert torch.equal(a, b)
        assert info.masked.tolist() == [False, number == UPDATES - 2, False]
        assert_same(plain, recorded)
    for info, before in infos:
        assert all(map(torch.equal, (*info.losses, info.masked, info.actor_norm), before)), (
            "later overwritten"
        )
    (tape,) = tapes
    assert (tape.warm_ups, tape.recordings, tape.replays) == (2 * WARM_UPS, 2, 2 * (UPDATES - WARM_UPS))


def test_numbers_that_go_wrong_stop_a_replay_before_anything_changes(tapes: list[Tape]) -> None:
    recorded = learner(ROUTED, graph=True)
    for number in range(UPDATES):
        update(recorded, number)
    before = [t.clone() for t in state(recorded)]
    data = batch(recorded, 0)
    data.obs[3, 2] = float("nan")
    with pytest.raises(Diverged) as diverged:
        recorded.update(data, recorded.draw(data, torch.Generator()))
    assert diverged.value.task == 2
    assert all(map(torch.equal, state(recorded), before))
    assert tapes[0].replays == 2 * (UPDATES - WARM_UPS) + 1


def test_what_is_loaded_or_grown_is_recorded_anew(tapes: list[Tape]) -> None:
    """Also from a learner that was executed otherwise, and for another batch size."""
    growing = ROUTED.model_copy(update={"initial_modules": 3})
    plain, recorded = learner(growing, graph=False), learner(growing, graph=True)
    for number in range(WARM_UPS + 1):
        update(recorded, number)
    update(plain, 50)
    recorded.load_state_dict(copy.deepcopy(plain.state_dict()))
    for size in (SIZE, SIZE, SIZE + 1):
        for number in range(WARM_UPS + 2):
            update(plain, number, size)
            update(recorded, number, size)
        assert_same(plain, recorded)
        for one in (plain, recorded):
            for network in (one.actor, one.critics, one.targets):
                assert isinstance(network, RoutedNetwork)
                network.grow()
            one.sizes_changed()
    assert tapes[0].recordings == 2 * 4


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_official_updates_are_reproduced_by_a_recording(tapes: list[Tape], path: Path) -> None:
    worst = max(verify_file(path, Execution(graph=True)), key=lambda c: c.error)
    assert worst.error <= TOLERANCE, worst
    assert tapes[0].replays == 2


def test_gradient_surgery_cannot_be_recorded(tapes: list[Tape]) -> None:
    generator = torch.Generator()
    config = MlpConfig(hidden_dim=16)
    networks = build_actor(config, TASKS, generator), build_critics(config, TASKS, generator)
    with pytest.raises(UserError, match="pcgrad"):
        MultiTaskSAC(*networks, SacConfig(gradient_surgery="pcgrad"), Execution(graph=True))


@needs_cuda
@pytest.mark.parametrize("config", [ROUTED, MlpConfig(hidden_dim=16), PacoConfig(hidden_dim=16)], ids=NAME)
def test_a_captured_update_has_the_same_bits(config: NetworkConfig) -> None:
    plain, captured = learner(config, graph=False, device="cuda"), learner(config, graph=True, device="cuda")
    for number in range(UPDATES):
        update(plain, number)
        update(captured, number)
    assert_same(plain, captured)


@needs_cuda
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_official_updates_are_reproduced_on_a_gpu(path: Path, graph: bool) -> None:
    worst = max(verify_file(path, Execution(graph=graph), "cuda"), key=lambda c: c.error)
    assert worst.error <= TOLERANCE, worst


@needs_cuda
def test_a_graph_does_what_was_recorded_and_not_before() -> None:
    graphs, number = CudaGraphs(), torch.zeros(1, device="cuda")
    replay = graphs.record(lambda: torch._foreach_add_([number], 1))
    assert number.item() == 0
    replay()
    replay()
    assert number.item() == 2
