"""Methods with other values: what may be changed, what they are called, and that the name says it all."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from d2r.cli.main import main
from d2r.config import (
    changed_method,
    identity,
    is_method,
    load_benchmark,
    load_method,
    load_scale,
    method_id,
    method_ids,
    plan_runs,
    resolve_network,
    resolve_run,
)
from d2r.config.changes import read_values, split_id
from d2r.errors import UserError
from d2r.findings.results import method_info
from d2r.networks.registry import shape_actor
from d2r.text import LONGEST_NAME, NAME
from tests.support.projects import forget_configuration
from tests.support.tiny import PROJECT

TRAIN = ["train", "--benchmark", "mt10-rand", "--seed", "1"]
positive = st.floats(min_value=1e-12, max_value=1e12, allow_nan=False)


def fits_in_a_name(values: dict[str, Any]) -> bool:
    return sum(len(f"+{key}-{value}") for key, value in values.items()) <= LONGEST_NAME - len("d2r")


changes = st.fixed_dictionaries(
    {},
    optional={
        "sac.batch_per_task": st.integers(1, 10**6),
        "sac.lr_actor": positive,
        "sac.target_entropy": st.floats(-100, 100),
        "sac.max_log_alpha": st.none() | st.floats(-9, 9),
        "sac.route_balancing": st.booleans(),
        "sac.task_weights": st.sampled_from(["softmax", "softmax-alpha", "uniform"]),
        "network.num_modules": st.integers(2, 256),
        "network.router_input": st.sampled_from(["product", "relu-product", "state"]),
    },
).filter(lambda values: values and fits_in_a_name(values))


@given(changes)
def test_an_id_says_what_it_changes_and_one_change_has_one_id(values: dict[str, Any]) -> None:
    name = changed_method("d2r", values, "--set")
    assert re.fullmatch(NAME, name)
    assert name == Path(name).name
    assert split_id(name) == ("d2r", values)
    method, plain = load_method(name), load_method("d2r")
    assert method.id == name
    for section in ("sac", "network"):
        left, right = getattr(method, section).model_dump(), getattr(plain, section).model_dump()
        changed = {f"{section}.{key}": left[key] for key in left if left[key] != right[key]}
        assert changed.items() <= values.items(), "nothing else is changed"
        assert all(left[key.partition(".")[2]] == values[key] for key in values if key.startswith(section))
    backwards = dict(reversed(values.items()))
    assert changed_method("d2r", backwards, "--set") == name


@given(changes, changes)
def test_other_values_have_another_id(one: dict[str, Any], other: dict[str, Any]) -> None:
    names = [changed_method("d2r", values, "--set") for values in (one, other)]
    assert (names[0] == names[1]) == (one == other)


def test_other_values_make_another_run_and_win_over_the_scales() -> None:
    scale = load_scale("smoke")
    changed = changed_method("d2r", {"sac.batch_per_task": 32, "network.num_modules": 8}, "--set")
    run = resolve_run(scale, "mt10-rand", changed, 1)
    plain = resolve_run(scale, "mt10-rand", "d2r", 1)
    assert (run.sac.batch_per_task, plain.sac.batch_per_task) == (32, 16)
    assert (run.network.num_modules, plain.network.num_modules) == (8, 16)
    assert run.method == changed
    assert identity(run) != identity(plain)


def test_a_changed_size_holds_on_mt50_too() -> None:
    changed = changed_method("moore", {"network.num_experts": 3}, "--set")
    assert resolve_network(changed, "mt10").num_experts == resolve_network(changed, "mt50").num_experts == 3
    assert resolve_network("moore", "mt50").num_experts != 3


def test_numbers_are_written_in_one_way() -> None:
    assert changed_method("d2r", {"sac.lr_actor": 1}, "--set") == "d2r+sac.lr_actor-1.0"
    assert changed_method("d2r", {"sac.lr_actor": 1e20}, "--set") == "d2r+sac.lr_actor-1e20"
    with pytest.raises(UserError, match=re.escape("did you mean 'd2r+sac.lr_actor-0.001'?")):
        load_method("d2r+sac.lr_actor-1e-3")


def test_a_changed_method_is_shown_by_its_own_title() -> None:
    name = "mtsac+sac.batch_per_task-32"
    assert is_method(name)
    assert method_info(name).title == "MT-SAC (batch_per_task 32)"
    assert method_info(name).kind == "baseline"
    for unknown in ("mtsac+sac.batch_per_tsk-32", "mtsca+sac.batch_per_task-32", "mtsac+", "+"):
        assert not is_method(unknown)
        assert method_info(unknown).title == unknown


@pytest.mark.parametrize(
    ("method", "given", "says"),
    [
        ("d2r", ["sac.batch_per_tsk=32"], "did you mean 'sac.batch_per_task'"),
        ("d2r", ["batch_per_task=32"], "did you mean 'sac.batch_per_task'"),
        ("d2r", ["budget.steps=32"], "'d2r' has no key 'budget.steps'; valid: "),
        ("d2r", ["network.type=mlp"], "'d2r' has no key 'network.type'"),
        ("mtsac-matched", ["network.matched=d2r"], "'mtsac-matched' has no key 'network.matched'"),
        ("mtsac", ["network.num_modules=8"], "'mtsac' has no key 'network.num_modules'; did you mean"),
        ("d2r", ["sac.batch_per_task=many"], "'sac.batch_per_task': input should be a valid integer"),
        ("d2r", ["sac.batch_per_task=3.5"], "'sac.batch_per_task': input should be a valid integer"),
        ("d2r", ["sac.batch_per_task=0"], "'sac.batch_per_task': input should be greater than 0"),
        ("d2r", ["network.residual=1"], "'network.residual': input should be a valid boolean, not 1"),
        ("d2r", ["network.top_k=17"], "top_k (17) must not exceed num_modules (16)"),
        ("d2r", ["sac.lr_actor=.nan"], "finite number"),
        ("d2r", ["sac.batch_per_task=3", "sac.batch_per_task=3"], "'sac.batch_per_task' is given twice"),
        ("d2r+sac.batch_per_task-3", ["sac.batch_per_task=4"], "'sac.batch_per_task' is given twice"),
        ("d2r", ["sac.batch_per_task"], "must be KEY=VALUE"),
        ("d2r", ["=3"], "must be KEY=VALUE"),
        ("d2r", ["sac.batch_per_task="], "must be KEY=VALUE"),
        ("care", ["network.embeddings_file=../a.json"], "no folder can be named by '../a.json'"),
        ("mtsca", ["sac.batch_per_task=4"], "did you mean 'mtsac'"),
        ("d2r", ["start_from=lite.mt10-fixed.d2r"], "'start_from' needs 'adapt' beside it"),
        ("d2r", ["adapt=all"], "'adapt' needs 'start_from' beside it"),
        ("d2r", ["start_form=lite.mt10-fixed.d2r", "adapt=all"], "did you mean 'start_from'"),
        ("d2r", ["start_from=lite.mt10-fixed.d2r", "adapt=rooter"], "'new-task', not 'rooter'"),
        ("d2r", ["start_from=lite.d2r", "adapt=all"], "must be SCALE.BENCHMARK.METHOD, such as"),
        ("d2r", ["start_from=7", "adapt=all"], "must be SCALE.BENCHMARK.METHOD, such as"),
        ("d2r", ["start_from=lit.mt10-fixed.d2r", "adapt=all"], "unknown scale 'lit'; did you mean 'lite'"),
        ("d2r", ["start_from=lite.mt10-fix.d2r", "adapt=all"], "did you mean 'mt10-fixed'"),
        ("d2r", ["start_from=lite.mt10-fixed.d2", "adapt=all"], "unknown method 'd2'; did you mean"),
        (
            "d2r",
            [f"sac.{key}=0.123456789" for key in ("discount", "target_tau", "lr_actor", "lr_critic")],
            "characters, of 100 allowed",
        ),
    ],
)
def test_what_cannot_be_set_gets_one_line(
    method: str, given: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for text in given for word in ("--set", text)]
    assert main([*TRAIN, "--method", method, *words, "--results", str(tmp_path / "results")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert says in err
    assert not (tmp_path / "results").exists()


@given(st.text(max_size=30))
def test_no_text_is_taken_for_something_else(text: str) -> None:
    for name in (text, f"d2r+{text}", f"d2r+sac.batch_per_task-{text}"):
        with contextlib.suppress(UserError):
            assert load_method(name).id == name
    with contextlib.suppress(UserError):
        assert list(read_values([text])) == [text.partition("=")[0]]


def with_variants(project: Path, variants: dict[str, Any], methods: Any) -> Path:
    path = project / "config" / "scales" / "smoke.yaml"
    data = yaml.safe_load(path.read_text())
    data |= {"variants": variants, "runs": [{"benchmarks": ["mt10-rand"], "methods": methods}]}
    path.write_text(yaml.safe_dump(data))
    forget_configuration()
    return path


SMALL = {"of": "d2r", "set": {"sac.batch_per_task": 8}}


LATER = {
    "of": "d2r",
    "start_from": {"scale": "lite", "benchmark": "mt10-fixed", "method": "d2r"},
    "adapt": "router",
}


def test_a_variant_that_starts_from_another_run_is_the_method_that_set_makes(project: Path) -> None:
    with_variants(project, {"later": LATER}, ["later"])
    scale = load_scale("smoke")
    name = method_id(scale, "later")
    values = {"adapt": "router", "start_from": "lite.mt10-fixed.d2r"}
    assert name == changed_method("d2r", values, "--set") == "d2r+adapt-router+start_from-lite.mt10-fixed.d2r"
    run = resolve_run(scale, "mt10-rand", name, 1)
    assert run.adapt == "router"
    assert run.start_from.word == "lite.mt10-fixed.d2r"
    assert run.start_from.tasks == load_benchmark("mt10-fixed").tasks
    assert load_method(name).title == "D2R (adapt router, from mt10-fixed)"
    assert identity(run) != identity(resolve_run(scale, "mt10-rand", "d2r", 1))


def test_a_methods_file_may_say_it_too(project: Path) -> None:
    path = project / "config/methods/later.yaml"
    about = {"id": "later", "extends": "d2r", "title": "Later", "source": "Ours.", "summary": "Later."}
    path.write_text(yaml.safe_dump(about | {name: LATER[name] for name in ("start_from", "adapt")}))
    run = resolve_run(load_scale("smoke"), "mt10-rand", "later", 1)
    assert (run.adapt, run.start_from.word) == ("router", "lite.mt10-fixed.d2r")
    chained = LATER["start_from"] | {"method": "later"}
    path.with_name("last.yaml").write_text(
        yaml.safe_dump(about | {"id": "last", "start_from": chained, "adapt": "all"})
    )
    with pytest.raises(UserError, match="'later' starts from another run itself; name one that does not"):
        load_method("last")


def test_a_matched_network_is_as_wide_as_the_one_that_it_starts_from() -> None:
    scale = load_scale("lite")
    values = {"adapt": "all", "start_from": "lite.mt10-fixed.mtsac-matched"}
    later = resolve_run(scale, "transfer-near-fixed", changed_method("mtsac-matched", values, "--set"), 1)
    before = resolve_run(scale, "mt10-fixed", "mtsac-matched", 1)
    shared = [
        [tuple(layer.weight.shape) for layer in shape_actor(run.network, run.num_tasks).hidden]
        for run in (later, before)
    ]
    assert shared[0] == shared[1]


def test_a_variant_is_the_method_that_set_makes(project: Path) -> None:
    with_variants(project, {"small": SMALL}, ["mtsac", "small"])
    scale = load_scale("smoke")
    assert method_id(scale, "small") == "d2r+sac.batch_per_task-8"
    assert {run.method for run in plan_runs(scale)} == {"mtsac", "d2r+sac.batch_per_task-8"}
    with_variants(project, {"small": SMALL}, "all")
    assert {run.method for run in plan_runs(load_scale("smoke"))} == {
        *method_ids(), "d2r+sac.batch_per_task-8",
    }  # fmt: skip
    with_variants(project, {}, ["d2r+sac.batch_per_task-8"])
    assert {run.method for run in plan_runs(load_scale("smoke"))} == {"d2r+sac.batch_per_task-8"}


@pytest.mark.parametrize(
    ("variants", "methods", "says"),
    [
        ({"small": SMALL | {"of": "dtwor"}}, ["small"], "variants.small: unknown method 'dtwor'"),
        ({"small": SMALL | {"sets": {}}}, ["small"], "did you mean 'set'"),
        ({"small": {"of": "d2r", "set": {}}}, ["small"], "must not be empty"),
        (
            {"small": {"of": "d2r", "set": {"network": {"num_modules": 8}}}},
            ["small"],
            "'network' must be a value; write 'network.num_modules: ...'",
        ),
        ({"small": {"of": "d2r", "set": {"sac.batch": 8}}}, ["small"], "variants.small: 'd2r' has no key"),
        ({"small": {"of": "d2r", "set": {"sac.batch_per_task": "8"}}}, ["small"], "integer, not '8'"),
        ({"d2r": SMALL}, ["d2r"], "variants.d2r: must have a name of its own"),
        ({"Small": SMALL}, ["Small"], "variants.Small: must have a name of its own"),
        ({"small": SMALL, "tiny": SMALL}, ["small"], "variants.tiny: is 'small' once more"),
        ({"small": SMALL}, ["smal"], "unknown method 'smal'; did you mean 'small'"),
        ({}, ["d2r+sac.batch_per_tsk-8"], "did you mean 'sac.batch_per_task'"),
        ({"small": {"of": "d2r"}}, ["small"], "must have 'set' or 'start_from'"),
        ({"later": LATER | {"adapt": "al"}}, ["later"], "'new-task', not 'al'"),
        ({"later": {"of": "d2r", "adapt": "all"}}, ["later"], "go together, and 'start_from' is missing"),
        ({"later": {"of": "d2r", "start_from": LATER["start_from"]}}, ["later"], "and 'adapt' is missing"),
        ({"later": LATER | {"start_form": {}}}, ["later"], "did you mean 'start_from'"),
        (
            {"later": LATER | {"start_from": LATER["start_from"] | {"scale": "lit"}}},
            ["later"],
            "unknown scale 'lit'; did you mean 'lite'",
        ),
        (
            {"later": LATER | {"start_from": LATER["start_from"] | {"scal": "lite"}}},
            ["later"],
            "unknown key 'variants.later.start_from.scal'; did you mean 'scale'",
        ),
    ],
)
def test_a_bad_variant_gets_one_line(
    project: Path, variants: dict[str, Any], methods: list[str], says: str
) -> None:
    path = with_variants(project, variants, methods)
    with pytest.raises(UserError, match=re.escape(says)) as caught:
        load_scale("smoke")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_the_sweep_of_the_documentation_is_planned(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (PROJECT / "docs" / "reproduce.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(blocks[1].splitlines()) < 20, "with its command"
    benchmark, sweep = map(yaml.safe_load, blocks)
    for kind, data in (("benchmarks", benchmark), ("scales", sweep)):
        (project / "config" / kind / f"{data['id']}.yaml").write_text(yaml.safe_dump(data))
    assert main(["plan", "--scale", sweep["id"], "--json", "--results", str(project / "results")]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["runs"] == 9
    assert plan["budget_of"] == {}
    assert [block["method"] for block in plan["blocks"]] == [
        f"d2r+sac.batch_per_task-{size}" for size in (32, 64, 128)
    ]
    assert all(block["estimate"]["source"] == "measured now" for block in plan["blocks"])
