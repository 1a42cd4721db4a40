"""The benches of learner, replay and whole run: what they print, and the arithmetic of the floor."""

from __future__ import annotations

import json

import pytest
import torch

from d2r.algorithms.replay import Replay
from d2r.bench import replay as bench_replay
from d2r.bench.depth import decide_with_used_modules
from d2r.bench.learner import build_setting, floor_flop
from d2r.cli.main import main
from d2r.config import load_scale, resolve_run
from d2r.networks.registry import build_actor


def printed(capsys, *arguments):
    """Run ``d2r bench ... --json`` and return the one object on its one line."""
    assert main(["bench", *arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    return json.loads(captured.out)


def test_the_floor_of_a_plain_network_is_sixteen_passes_of_its_matrices():
    config = resolve_run(load_scale("paper"), "mt10-rand", "mtsac", 1)
    actor = 39 * 400 + 2 * 400 * 400 + 400 * 8
    critic = 43 * 400 + 2 * 400 * 400 + 400 * 1
    setting = build_setting(config, transitions=400)
    assert floor_flop(setting.learner, 128) == 2 * 1280 * (4 * actor + 12 * critic)


def test_the_floor_of_d2r_counts_encoders_router_modules_and_head():
    config = resolve_run(load_scale("paper"), "mt10-rand", "d2r", 1)
    shared = 400 * 400 + 400 * 256 + 256 * 256 + 256 * 136 + 400 * 128 + 15 * 128 * 128
    actor, critic = 39 * 400 + shared + 128 * 8, 43 * 400 + shared + 128 * 1
    setting = build_setting(config, transitions=400)
    assert floor_flop(setting.learner, 128) == 2 * 1280 * (4 * actor + 12 * critic)


def test_bench_learner_prints_one_object(capsys):
    result = printed(capsys, "learner", "--scale", "smoke", "--threads", "1", "--rounds", "1")
    assert all(
        result[name] > 0 for name in ("update_ms", "floor_ms", "floor_gflop", "sgemm_gflops", "peak_mb")
    )


@pytest.mark.parametrize("method", ["d2r", "d2r-naive", "mtsac"])
def test_bench_replay_keeps_what_training_keeps(method, monkeypatch):
    kept = []
    monkeypatch.setattr(bench_replay, "Replay", lambda *arguments: kept.append(Replay(*arguments)) or kept[0])
    config = resolve_run(load_scale("smoke"), "mt10-rand", method, 1)
    assert bench_replay.measure(config, rounds=1)["transitions"] == 4000
    actor = build_actor(config.network, 10, torch.Generator())
    trained = Replay(4000 // 10, 200, 10, True, actor.route_shape)
    assert kept[0].bytes_per_transition == trained.bytes_per_transition


def test_bench_train_makes_the_updates_that_are_due(capsys):
    result = printed(capsys, "train", "--setting", "light", "--steps", "1")["light"]
    assert (result["vector_steps"], result["updates"]) == (20, 10)
    assert all(spent >= 0 for spent in result["ms_per_vector_step"].values()), "no part is counted twice"


def test_bench_env_prints_one_object_of_four_rates(capfd):
    result = printed(capfd, "env", "--benchmark", "mt10-fixed", "--rounds", "1", "--workers", "1")
    rates = ("stock_sync_sps", "stock_async_sps", "ours_sps", "physics_ceiling_sps")
    assert all(result[name] > 0 for name in rates)


def test_bench_depth_measures_the_decisions_that_it_counts(capsys):
    costs = printed(capsys, "depth", "--rounds", "1")["methods"]
    chain = costs["d2r-fixed-depth"]
    assert set(chain["modules_used"]) == {16}
    assert set(chain["multiply_adds_used"]) == {chain["multiply_adds"]}, "all of its modules are used"
    used = dict(zip(costs["d2r"]["modules_used"], costs["d2r"]["multiply_adds_used"], strict=True))
    assert len(costs["d2r"]["modules_used"]) == 8
    assert sorted(used.values()) == [used[count] for count in sorted(used)], "more modules, more work"
    assert max(used.values()) < costs["d2r"]["multiply_adds"]


@pytest.mark.parametrize("method", ["d2r", "d2r-fixed-depth", "d2r-no-residual", "d2r-hard"])
def test_skipping_unused_modules_changes_no_decision(method):
    config = resolve_run(load_scale("smoke"), "mt10-rand", method, 1)
    for tasks in (1, 4):
        actor = build_actor(config.network, tasks, torch.Generator().manual_seed(0)).eval()
        x = torch.randn(1, 1, tasks, 39, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            torch.testing.assert_close(decide_with_used_modules(actor, x), actor(x).value)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("learner", "--threads", "0"), "--threads 0"),
        (("learner", "--rounds", "-1"), "rounds is -1"),
        (("train", "--threads", "100000"), "from 1 to 256"),
        (("learner", "--scale", "smoke", "--batch-per-task", "9" * 19), "must be from 1 to 1000000"),
        (("learner", "--batch-per-task", "0"), "batch per task is 0"),
        (("replay", "--rounds", "0"), "rounds is 0"),
        (("train", "--steps", "0"), "steps is 0"),
        (("learner", "--method", "nothing"), "nothing"),
        (("depth", "--rounds", "0"), "rounds is 0"),
    ],
)
def test_impossible_options_are_refused_in_one_line(capsys, arguments, complaint):
    assert main(["bench", *arguments]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
