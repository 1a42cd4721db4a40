"""Configuration: what a file may say, how files resolve to a run, and what bad ones are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from d2r.cli.main import main
from d2r.config import (
    load_method,
    load_scale,
    method_ids,
    plan_runs,
    resolve_run,
    scale_ids,
)
from d2r.config.networks import RoutedConfig
from d2r.errors import UserError


@pytest.mark.parametrize("scale", ["smoke", "lite", "paper"])
def test_every_run_of_every_scale_resolves(scale: str) -> None:
    assert scale in scale_ids()
    runs = plan_runs(load_scale(scale))
    assert len(set(runs)) == len(runs)
    for key in {(run.benchmark, run.method) for run in runs}:
        assert resolve_run(load_scale(scale), *key, seed=1).scale == scale


def test_paper_scale_is_the_official_setting() -> None:
    run = resolve_run(load_scale("paper"), "mt10-rand", "d2r", 1)
    assert run.network == RoutedConfig()
    assert (run.budget.steps, run.budget.warmup_steps, run.sac.batch_per_task) == (1_500_000, 4_000, 128)
    assert (run.sac.lr_actor, run.sac.lr_critic, run.sac.lr_alpha) == (3e-4, 3e-4, 1e-4)
    wide = resolve_run(load_scale("paper"), "mt50-fixed", "d2r", 1)
    assert (wide.budget.steps, wide.budget.replay_capacity, wide.evaluation_episodes) == (
        1_000_000,
        200_000,
        1,
    )


def test_smoke_holds_every_method_twice() -> None:
    runs = plan_runs(load_scale("smoke"))
    for method in method_ids():
        assert sorted(r.seed for r in runs if r.method == method and r.benchmark == "mt10-rand") == [1, 2]
    for benchmark in ("mt10-fixed", "mt50-fixed", "mt50-rand"):
        assert {r.method for r in runs if r.benchmark == benchmark} >= {"d2r", "mtsac"}


def test_a_method_keeps_what_it_sets_and_takes_the_scales_sizes_for_the_rest(project: Path) -> None:
    path = project / "config" / "scales" / "smoke.yaml"
    data = yaml.safe_load(path.read_text()) | {"network": {"num_modules": 6}, "width": 0.25}
    path.write_text(yaml.safe_dump(data))
    scale = load_scale("smoke")
    assert resolve_run(scale, "mt10-rand", "d2r", 1).network.num_modules == 6
    assert resolve_run(scale, "mt10-rand", "d2r-n4", 1).network.num_modules == 4
    assert resolve_run(scale, "mt10-rand", "d2r", 1).network.module_dim == 32


def test_a_new_ablation_is_one_new_file(project: Path) -> None:
    (project / "config" / "methods" / "d2r-top3.yaml").write_text(
        "id: d2r-top3\nextends: d2r\ntitle: D2R, K = 3\nkind: variant\nsource: ours\nsummary: Three sources.\n"
        "network: {top_k: 3}\n"
    )
    assert load_method("d2r-top3").network.top_k == 3
    assert [r for r in plan_runs(load_scale("smoke")) if r.method == "d2r-top3"]


@pytest.mark.parametrize("word", ["title", "source", "summary"])
def test_an_ablation_says_itself_what_it_is(project: Path, word: str) -> None:
    said = {"title": "D2R, K = 3", "source": "ours", "summary": "Three sources."}
    lines = "".join(f"{key}: {text}\n" for key, text in said.items() if key != word)
    path = project / "config" / "methods" / "d2r-top3.yaml"
    path.write_text(f"id: d2r-top3\nextends: d2r\nkind: variant\n{lines}network: {{top_k: 3}}\n")
    with pytest.raises(UserError, match=re.escape(str(path)) + f".*{word}"):
        load_method("d2r-top3")


@pytest.mark.parametrize(("kind", "name"), [("methods", "my_method"), ("methods", "Mine"), ("scales", "a b")])
def test_a_name_that_no_folder_or_rule_could_have_is_refused(project: Path, kind: str, name: str) -> None:
    path = project / "config" / kind / f"{name}.yaml"
    path.write_text(f"id: {name}\n")
    with pytest.raises(UserError, match=re.escape(f"{path}: a name is made of lower-case letters")):
        plan_runs(load_scale("smoke"))


TRAIN = ["train", "--benchmark", "mt10-rand", "--method", "d2r", "--seed", "1"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--benchmark", "mt10-rand", "--method", "mtsca", "--seed", "1"], "did you mean 'mtsac'"),
        (
            ["train", "--benchmark", "mt10-random", "--method", "d2r", "--seed", "1"],
            "did you mean 'mt10-rand'",
        ),
        ([*TRAIN, "--scale", "smoek"], "did you mean 'smoke'"),
        ([*TRAIN, "--steps", "-5"], "'steps'"),
        ([*TRAIN, "--threads", "0"], "--threads 0"),
        ([*TRAIN, "--threads", "1000"], "from 1 to 256"),
        ([*TRAIN, "--device", "tpu"], "cpu or cuda"),
        ([*TRAIN, "--workers", "-1"], "workers"),
        (
            ["train", "--benchmark", "mt10-rand", "--method", "d2r", "--seed", "one"],
            "seed one: must be a whole number",
        ),
        (
            ["train", "--benchmark", "mt10-rand", "--method", "d2r", "--seed", "-1"],
            "seed -1: must be a whole number",
        ),
        (["trian"], "did you mean 'train'"),
        ([*TRAIN, "--seed", "2"], "--seed is given twice"),
        ([*TRAIN, "--sede", "2"], "--sede"),
        (["evaluate", "nowhere"], "nowhere"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_arguments_get_one_line_and_status_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if arguments[0] == "train":
        arguments = [*arguments, "--results", str(tmp_path / "results")]
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("d2r: error: ")
    assert says in err
    assert not (tmp_path / "results" / "runs").exists(), "nothing half-written"


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("methods/d2r.yaml", "network: {type: routed, num_module: 4}", "did you mean 'num_modules'"),
        ("methods/d2r.yaml", "network: {type: routed, num_modules: -4}", "num_modules"),
        ("methods/d2r.yaml", "network: {type: routed, num_modules: 257}", "less than or equal to 256"),
        ("methods/d2r.yaml", "network: {type: routed, module_dim: true}", "valid integer, not True"),
        ("methods/d2r.yaml", "network: {type: routed, module_dim: '128'}", "valid integer, not '128'"),
        ("methods/d2r.yaml", "network: {type: routed, module_dim: 128.0}", "valid integer, not 128.0"),
        (
            "methods/d2r.yaml",
            "network: {type: routed, num_modules: 2, top_k: 9}",
            "top_k (9) must not exceed num_modules (2)",
        ),
        (
            "methods/d2r.yaml",
            "network: {type: routed-model, num_modules: 4, top_k: 9}",
            "top_k (9) must not exceed num_modules (4)",
        ),
        ("methods/d2r.yaml", "sac: {target_entropy: .nan}", "'sac.target_entropy': input should be a finite"),
        ("methods/d2r.yaml", "sac: {target_entropy: .inf}", "'sac.target_entropy': input should be a finite"),
        ("methods/d2r.yaml", "sac: {max_log_alpha: -.inf}", "'sac.max_log_alpha': input should be a finite"),
        ("methods/d2r.yaml", "sac: {clip_per: task}", "set task_weights: uniform"),
        (
            "methods/d2r.yaml",
            "sac: {clip_per: task, task_weights: softmax-alpha}",
            "set task_weights: uniform",
        ),
        ("methods/d2r.yaml", "sac: {grad_clop: 1}", "did you mean 'grad_clip'"),
        ("methods/d2r.yaml", "colour: red", "unknown key 'colour'"),
        ("methods/d2r.yaml", "network: {type: rooted}", "network"),
        ("methods/d2r.yaml", "extends: d2r-nn4", "did you mean 'd2r-n4'"),
        ("methods/d2r.yaml", "extends: d2r", "circle"),
        ("scales/smoke.yaml", "seeds: [1, 2, 1]", "1 is given twice"),
        ("scales/smoke.yaml", "seeds: [true]", "valid integer, not True"),
        ("scales/smoke.yaml", "budget: {mt10: {steps: '400'}}", "valid integer, not '400'"),
        ("scales/smoke.yaml", "protocol: d2r-offical", "did you mean 'd2r-official'"),
        ("scales/smoke.yaml", "runs: [{benchmarks: [mt10-rand], methods: [mtsca]}]", "did you mean 'mtsac'"),
        ("scales/smoke.yaml", "budget: {mt10: {steps: -1}}", "steps"),
        ("scales/smoke.yaml", "budget: {mt10: {stepps: 10}}", "did you mean 'steps'"),
        ("scales/smoke.yaml", "width: 7", "width"),
        ("scales/smoke.yaml", "network: {num_module: 3}", "did you mean 'num_modules'"),
        (
            "scales/smoke.yaml",
            "network: {match_parameters_of: 3}",
            "network: unknown key 'match_parameters_of'",
        ),
        ("scales/smoke.yaml", "network: {matched: 3}", "network: unknown key 'matched'"),
        ("scales/smoke.yaml", "network: {num_modules: 0}", "'network.num_modules': input should be greater"),
        (
            "scales/smoke.yaml",
            "network: {num_modules: true}",
            "'network.num_modules': input should be a valid",
        ),
        (
            "scales/smoke.yaml",
            "runs: [{benchmarks: [mt10-rand], methods: [d2r, d2r]}]",
            "'d2r' is given twice",
        ),
        ("protocols/d2r-official.yaml", "horizon: 501", "horizon"),
        ("protocols/d2r-official.yaml", "time_limit: never", "time_limit"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_files_get_one_line_that_names_the_place(
    project: Path, file: str, change: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project / "config" / file
    data = yaml.safe_load(path.read_text()) | yaml.safe_load(change)
    path.write_text(yaml.safe_dump(data))
    assert main([*TRAIN, "--results", str(project / "results")]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert says in err
    assert path.name in err


@pytest.mark.parametrize(
    "text", ["id: [unclosed", "id: d2r\nid: d2r\n", "- a list", "\x00", "? {a: 1}\n: 2", "&a [*a]"]
)
def test_corrupt_yaml_gets_one_line(project: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "config" / "methods" / "d2r.yaml").write_text(text)
    assert main([*TRAIN, "--results", str(project / "results")]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "d2r.yaml" in err


def test_a_folder_that_cannot_be_written_gets_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").write_text("a file stands here")
    assert main([*TRAIN, "--results", str(tmp_path / "results")]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "results" in err


def test_evaluations_after_numbers_of_episodes() -> None:
    scale = load_scale("transfer")
    run = resolve_run(scale, "transfer-near-fixed", "d2r", 1)
    assert list(run.evaluation_steps) == [0, 1_000, 2_000, 4_000, 8_000, 16_000], "of 200 steps each"
    few = {"evaluate_after": [0, 2], "steps": 1_000}
    assert list(resolve_run(scale, "transfer-near-fixed", "d2r", 1, few).evaluation_steps) == [0, 400, 1_000]
    for after, says in (
        ([5, 0], "in ascending order, each once"),
        ([5, 5], "in ascending order, each once"),
        ([], "must not be empty"),
        ([0, 90], "90 episodes of 200 steps are more than steps"),
    ):
        with pytest.raises(UserError, match=says) as caught:
            resolve_run(scale, "transfer-near-fixed", "d2r", 1, {"evaluate_after": after})
        assert "\n" not in str(caught.value)


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 600))
def test_evaluations_at_equal_distances_are_at_every_multiple_and_the_end(
    steps: int, every: int, at: int
) -> None:
    run = resolve_run(
        load_scale("lite"), "mt10-rand", "d2r", 1,
        {"steps": steps, "evaluate_every": every, "warmup_steps": 0, "late_evaluation_episodes": 7},
    )  # fmt: skip
    assert list(run.evaluation_steps) == [s for s in range(1, steps + 1) if s % every == 0 or s == steps]
    assert [s for s in range(steps + 1) if run.is_evaluated_at(s)] == list(run.evaluation_steps)
    assert run.evaluations_from(0) == len(list(run.evaluation_steps))
    if at <= steps:
        late = -(-at // every) > -(-steps // every) - 8
        assert run.evaluation_episodes_at(at) == (7 if late else 5)
