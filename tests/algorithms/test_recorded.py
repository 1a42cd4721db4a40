"""A recorded update is the update: the same bits, whatever changes between two of them, of one seed or several.

The recorder is a tape that keeps a CUDA graph's rules on the CPU; the capture itself needs a GPU. What is drawn is
drawn as on a GPU, by operations on generators that the recording knows.
"""

from __future__ import annotations

import copy
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from d2r.algorithms import acting as acting_module
from d2r.algorithms.acting import Acting
from d2r.algorithms.draws import Draws
from d2r.algorithms.execution import update as update_module
from d2r.algorithms.execution.recorded import WARM_UPS, CudaGraphs
from d2r.algorithms.execution.update import Updates
from d2r.algorithms.members import side_by_side
from d2r.algorithms.replay import Batch, Replay
from d2r.algorithms.sac import Diverged, MultiTaskSAC, UpdateInfo
from d2r.config import SacConfig
from d2r.config.execution import Execution
from d2r.config.networks import MlpConfig, MultiHeadConfig, NetworkConfig, PacoConfig, RoutedConfig
from d2r.kernel import library
from d2r.networks.d2r import stack
from d2r.networks.d2r.readers import DenseReaders
from d2r.networks.registry import build_actor, build_critics
from d2r.verify.golden import TOLERANCE, verify_file
from tests.algorithms.tape import Tape

TASKS, SIZE, HORIZON, UPDATES = 3, 8, 4, WARM_UPS + 5
ROUTED = RoutedConfig(num_modules=5, module_dim=8, encoder_dim=12, router_dim=10)
PLAIN_NETWORKS = (MlpConfig(hidden_dim=16), PacoConfig(hidden_dim=16))
GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.npz"))
NAME = attrgetter("type")


@pytest.fixture
def tapes(monkeypatch: pytest.MonkeyPatch) -> list[Tape]:
    """Record on tapes instead of CUDA graphs, with a GPU's operators, readers and draws; the tapes that were begun."""
    begun: list[Tape] = []

    def begin(streams: object = ()) -> Tape:
        begun.append(Tape())
        return begun[-1]

    for module in (update_module, acting_module):
        monkeypatch.setattr(module, "CudaGraphs", begin)
    monkeypatch.setattr(library, "functions", lambda _: None)
    monkeypatch.setattr(stack, "readers_of", DenseReaders)
    monkeypatch.setattr(
        Replay, "sample", lambda replay, size, streams: replay.at(replay.drawn_where_it_lies(size, streams))
    )
    return begun


class Learning:
    """Seeds that learn from a replay that grows while they do."""

    def __init__(
        self, config: NetworkConfig, graph: bool, seeds: int = 1, device: str = "cpu", **sac: object
    ):
        first = torch.Generator().manual_seed(0)
        networks = [
            side_by_side([build(config, TASKS, first) for _ in range(seeds)]).to(device)
            for build in (build_actor, build_critics)
        ]
        chosen = SacConfig.model_validate({"lr_alpha": 0.05, "target_entropy": -20.0, **sac})
        self.sac = MultiTaskSAC(*networks, chosen)
        self.streams = [torch.Generator(device).manual_seed(seed) for seed in range(seeds)]
        self.replay = Replay(12, HORIZON, TASKS, True, self.sac.actor.route_shape, device, seeds)
        self.chance = torch.Generator().manual_seed(1)
        self.replay.begin_episode(self.drawn(39))
        self.size = SIZE
        self.updates = Updates(self.sac, Execution(graph=graph), self.inputs, self.streams)

    def drawn(self, *shape: int) -> Tensor:
        shape = (self.sac.seeds, TASKS, *shape)
        return torch.randn(shape, generator=self.chance).to(self.sac.log_alpha.device)

    def inputs(self) -> tuple[Batch, Draws]:
        batch = self.replay.sample(self.size, self.streams)
        return batch, self.sac.draw(batch, self.streams)

    def step(self) -> None:
        sources = None
        if self.replay.sources is not None:
            groups, top_k = self.replay.sources.shape[-2:]
            # a network that grows has no routes yet through modules that it does not use
            in_use = getattr(self.sac.actor, "in_use", groups)
            last = torch.arange(groups).clamp(min=1, max=in_use).view(-1, 1)
            drawn = torch.rand(self.sac.seeds, TASKS, groups, top_k, generator=self.chance)
            sources = (drawn * last).long().clamp(max=last).to(torch.uint8).to(self.sac.log_alpha.device)
        self.replay.add(self.drawn(4).tanh(), self.drawn(), self.drawn(39), sources)
        if self.replay.total % HORIZON == 0:
            self.replay.begin_episode(self.drawn(39))
        self.replay.note_filling()

    def update(self) -> UpdateInfo:
        self.step()
        return self.updates.update()


def state(sac: MultiTaskSAC) -> list[Tensor]:
    """All that an update moves."""
    networks = [p.detach() for n in (sac.actor, sac.critics, sac.targets) for p in n.parameters()]
    moments = [value for one in sac.optimiser.state.values() for value in one.values()]
    return [*networks, sac.log_alpha.detach(), *moments]


def assert_same(one: Learning, two: Learning) -> None:
    for a, b in zip(state(one.sac), state(two.sac), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("config", [ROUTED, *PLAIN_NETWORKS], ids=NAME)
def test_a_recorded_update_has_the_same_bits(tapes: list[Tape], config: NetworkConfig, seeds: int) -> None:
    """Batches and routes differ at every update, and one leaves out a task of the first seed, whose PaCo resets it."""
    plain, recorded = Learning(config, False, seeds), Learning(config, True, seeds)
    for number in range(UPDATES):
        if number == UPDATES - 2:
            for one in (plain, recorded):
                one.replay.reward[0, :, 1] = 1e5
        expected, info = plain.update(), recorded.update()
        for a, b in zip((*expected.losses, *expected[1:]), (*info.losses, *info[1:]), strict=True):
            assert torch.equal(a, b)
        extreme = [False, number >= UPDATES - 2, False]
        assert info.masked.tolist() == [extreme, *[[False] * TASKS] * (seeds - 1)]
        assert_same(plain, recorded)
    (tape,) = tapes
    assert (tape.warm_ups, tape.recordings, tape.replays) == (2 * WARM_UPS, 2, 2 * (UPDATES - WARM_UPS))


def test_gradient_surgery_is_recorded_too(tapes: list[Tape]) -> None:
    config = MultiHeadConfig(hidden_dim=16)
    plain, recorded = (Learning(config, graph, 2, gradient_surgery="pcgrad") for graph in (False, True))
    for _ in range(UPDATES):
        plain.update()
        recorded.update()
    assert_same(plain, recorded)
    assert tapes[0].replays == 2 * (UPDATES - WARM_UPS)


def test_numbers_that_go_wrong_stop_a_replay_before_anything_changes(tapes: list[Tape]) -> None:
    """Only those of the seed whose are wrong; the others may go on from there, on the same draws."""
    recorded, whole = Learning(ROUTED, True, 2), Learning(ROUTED, False, 2)
    for _ in range(UPDATES):
        recorded.update()
        whole.update()
    before = [t.clone() for t in state(recorded.sac)]
    recorded.replay.obs[1, ..., 2, 0] = float("nan")
    with pytest.raises(Diverged) as diverged:
        recorded.update()
    assert {place: wrong.task for place, wrong in diverged.value.wrong.items()} == {1: 2}
    assert all(map(torch.equal, state(recorded.sac), before))
    assert tapes[0].replays == 2 * (UPDATES - WARM_UPS) + 1
    recorded.updates.finish(diverged.value.info, masked=False)
    whole.update()
    one, other = (learning.sac.state_dict(0)["actor"] for learning in (recorded, whole))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_has_grown_is_recorded_anew(tapes: list[Tape]) -> None:
    growing = ROUTED.model_copy(update={"initial_modules": 3})
    plain, recorded = Learning(growing, False), Learning(growing, True)
    for _ in range(3):
        for _ in range(WARM_UPS + 2):
            plain.update()
            recorded.update()
        assert_same(plain, recorded)
        for one in (plain, recorded):
            for network in (one.sac.actor, one.sac.critics, one.sac.targets):
                network.grow()
            one.updates.begin_anew()
    assert sum(tape.recordings for tape in tapes) == 2 * 3


def test_a_recording_goes_on_with_what_is_loaded(tapes: list[Tape]) -> None:
    """A state is loaded into the memory that the recording knows."""
    plain, recorded = Learning(ROUTED, False), Learning(ROUTED, True)
    for _ in range(WARM_UPS + 1):
        recorded.update()
    plain.update()
    recorded.sac.load_state_dict(copy.deepcopy(plain.sac.state_dict()))
    recorded.streams[0].set_state(plain.streams[0].get_state())
    for name in ("obs", "action", "reward", "sources", "_known", "_oldest"):
        getattr(recorded.replay, name).copy_(getattr(plain.replay, name))
    recorded.updates.update()
    plain.updates.update()
    assert_same(plain, recorded)


@pytest.mark.parametrize("config", [ROUTED, MlpConfig(hidden_dim=16)], ids=NAME)
def test_decisions_are_recorded_with_the_same_bits(tapes: list[Tape], config: NetworkConfig) -> None:
    """Those of a policy that is trained meanwhile, sampled, uniform and deterministic, of two seeds."""
    learnings = [Learning(config, False, 2) for _ in range(2)]
    streams = [[torch.Generator().manual_seed(seed) for seed in (5, 6)] for _ in range(2)]
    plain, recorded = (
        Acting(learning.sac, own, graph)
        for learning, own, graph in zip(learnings, streams, (False, True), strict=True)
    )
    seen = np.random.default_rng(0)
    for _ in range(UPDATES):
        observations = seen.normal(size=(2, TASKS, 39))
        for uniformly in (False, True):
            action, sources = plain.sample(observations, uniformly)
            again, same = recorded.sample(observations, uniformly)
            assert torch.equal(action, again)
            assert (sources is None) == (same is None)
            assert sources is None or torch.equal(sources, same)
        assert (plain.best(observations) == recorded.best(observations)).all()
        for learning in learnings:
            learning.update()
    assert tapes[0].recordings == 3


@pytest.mark.parametrize("cohort", [1, 2])
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_official_updates_are_reproduced_by_a_recording(tapes: list[Tape], path: Path, cohort: int) -> None:
    worst = max(verify_file(path, Execution(graph=True), cohort=cohort), key=lambda c: c.error)
    assert worst.error <= TOLERANCE, worst
    assert [tape.replays for tape in tapes] == [2] * cohort


@pytest.mark.cuda
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("config", [ROUTED, *PLAIN_NETWORKS], ids=NAME)
def test_a_captured_update_has_the_same_bits(config: NetworkConfig, seeds: int) -> None:
    plain, captured = (Learning(config, graph, seeds, "cuda") for graph in (False, True))
    for _ in range(UPDATES):
        plain.update()
        captured.update()
    assert_same(plain, captured)


@pytest.mark.cuda
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("cohort", [1, 3])
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_official_updates_are_reproduced_on_a_gpu(path: Path, graph: bool, cohort: int) -> None:
    worst = max(verify_file(path, Execution(graph=graph), "cuda", cohort), key=lambda c: c.error)
    assert worst.error <= TOLERANCE, worst


@pytest.mark.cuda
def test_a_graph_does_what_was_recorded_and_not_before_and_draws_anew() -> None:
    stream = torch.Generator("cuda").manual_seed(3)
    graphs, number = CudaGraphs([stream]), torch.zeros(1, device="cuda")
    drawn = torch.zeros(5, device="cuda")

    def work() -> None:
        torch._foreach_add_([number], 1)
        drawn.copy_(torch.rand(5, generator=stream, device="cuda"))

    graphs.warm_up(work)
    replay = graphs.record(work)
    assert number.item() == 1
    replay()
    first = drawn.clone()
    replay()
    assert number.item() == 3
    assert not torch.equal(first, drawn)
