"""Benchmarks are files: what they may say, what they are called, and which of it makes a run another run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from metaworld.env_dict import MT10_V3, MT25_V3, MT50_V3

from d2r.cli.main import main
from d2r.config import identity, is_run, load_benchmark, load_scale, plan_runs, resolve_run, stated
from d2r.config.benchmarks import (
    TASKS,
    Benchmark,
    benchmark_ids,
    in_order,
    meant_by_name,
    nearest_size,
    suite_of,
)
from d2r.config.identity import Stated, config_hash
from d2r.config.schema import RunConfig
from d2r.errors import UserError
from tests.support.projects import forget_configuration

DOORS = {
    "id": "mt3-doors",
    "description": "Three doors.",
    "goals": "rand",
    "tasks": ["door-open-v3", "door-close-v3", "door-lock-v3"],
}
some_tasks = st.lists(st.sampled_from(TASKS), min_size=1, unique=True)


def write(project: Path, **changes: Any) -> Path:
    """Write ``mt3-doors.yaml`` with some values changed, those that are none left out."""
    path = project / "config" / "benchmarks" / "mt3-doors.yaml"
    data = {key: value for key, value in (DOORS | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(data))
    forget_configuration()
    return path


def doors(seed: int = 1) -> RunConfig:
    return resolve_run(load_scale("smoke"), "mt3-doors", "d2r", seed)


@pytest.mark.parametrize(("suite", "tasks"), [("mt10", MT10_V3), ("mt25", MT25_V3), ("mt50", MT50_V3)])
@pytest.mark.parametrize("goals", ["fixed", "rand"])
def test_those_of_metaworld_are_metaworlds(suite: str, tasks: dict[str, object], goals: str) -> None:
    benchmark = load_benchmark(f"{suite}-{goals}")
    assert (benchmark.suite, benchmark.goals, benchmark.tasks) == (suite, goals, tuple(tasks))


def test_every_task_makes_two_benchmarks_of_its_own() -> None:
    assert tuple(MT50_V3) == TASKS
    for task in MT50_V3:
        for goals in ("fixed", "rand"):
            alone = load_benchmark(f"mt1-{task}-{goals}")
            assert (alone.tasks, alone.goals, alone.suite) == ((task,), goals, f"mt1-{task}")
            assert alone.id in benchmark_ids()


@pytest.mark.parametrize("name", ["mt10-fixed", "mt10-rand", "mt50-fixed", "mt50-rand"])
def test_ids_from_before_there_were_files_mean_what_they_meant(name: str) -> None:
    assert meant_by_name(name) == load_benchmark(name)


@pytest.mark.parametrize("name", ["mt25-rand", "mt1-reach-v3-rand", "mt10", "mt10-random", "rand", ""])
def test_no_other_id_says_by_itself_what_it_is(name: str) -> None:
    assert meant_by_name(name) is None


@given(some_tasks, st.sampled_from(["fixed", "rand"]))
def test_any_tasks_in_any_order_are_a_benchmark(tasks: list[str], goals: str) -> None:
    read = Benchmark.model_validate({"id": "mine", "tasks": tasks, "goals": goals})
    assert (list(read.tasks), read.goals, read.suite) == (tasks, goals, "mine")


@given(st.permutations(benchmark_ids()))
def test_the_order_of_tables_depends_on_nothing_but_the_names(names: list[str]) -> None:
    assert in_order(names) == list(benchmark_ids())


def test_larger_sets_come_later() -> None:
    ids = ["mt50-rand", "mt10-rand", "unheard-of", "mt3-doors", "mt10-fixed", "mt50-fixed", "mt25-rand"]
    assert in_order(ids) == [
        "mt3-doors", "mt10-fixed", "mt10-rand", "mt25-rand", "mt50-fixed", "mt50-rand", "unheard-of",
    ]  # fmt: skip


@given(st.integers(1, 50), st.dictionaries(st.text(max_size=3), st.integers(1, 50), min_size=1))
def test_no_set_is_nearer_than_the_nearest(tasks: int, sizes: dict[str, int]) -> None:
    found = sizes[nearest_size(tasks, sizes)]
    assert all(abs(found - tasks) <= abs(size - tasks) for size in sizes.values())
    assert 2 * tasks - found not in sizes.values() or found <= tasks, "of two as near, the smaller"


def test_a_set_without_a_budget_has_that_of_the_nearest_size(project: Path) -> None:
    write(project)
    path = project / "config" / "scales" / "paper.yaml"
    data = yaml.safe_load(path.read_text())
    data["runs"] = [{"benchmarks": ["mt3-doors", "mt25-rand", "mt50-rand"], "methods": ["d2r"]}]
    path.write_text(yaml.safe_dump(data))
    scale = load_scale("paper")
    budgets = {key.benchmark: resolve_run(scale, *key[1:]).budget for key in plan_runs(scale)}
    assert list(budgets) == ["mt3-doors", "mt25-rand", "mt50-rand"]
    assert budgets["mt3-doors"] == budgets["mt25-rand"] == scale.budget["mt10"]
    assert budgets["mt50-rand"] == scale.budget["mt50"]
    data["budget"] |= {"mt3-doors": {"steps": 5000}, "mt1": {"steps": 6000}}
    path.write_text(yaml.safe_dump(data))
    forget_configuration()
    assert resolve_run(load_scale("paper"), "mt3-doors", "d2r", 1).budget.steps == 5000
    assert resolve_run(load_scale("paper"), "mt1-reach-v3-fixed", "d2r", 1).budget.steps == 6000


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tasks": ["door-open-v3", "door-clsoe-v3"]}, "did you mean 'door-close-v3'"),
        ({"tasks": []}, "must not be empty"),
        ({"tasks": None}, "key 'tasks' is missing"),
        ({"tasks": "door-open-v3"}, "'tasks'"),
        ({"tasks": [3]}, "valid string"),
        ({"tasks": ["door-open-v3", "door-lock-v3", "door-open-v3"]}, "'door-open-v3' is given twice"),
        ({"goals": "random"}, "'goals': input should be 'fixed' or 'rand', not 'random'"),
        ({"goals": None}, "key 'goals' is missing"),
        ({"description": None}, "key 'description' is missing"),
        ({"id": "mt3-door"}, "'id' must be the file's name, 'mt3-doors', not 'mt3-door'"),
        ({"goal": "rand"}, "unknown key 'goal'; did you mean 'goals'"),
    ],
)
def test_a_bad_file_gets_one_line(
    project: Path, change: dict[str, Any], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(project, **change)
    train = ["train", "--benchmark", "mt3-doors", "--method", "d2r", "--seed", "1"]
    assert main([*train, "--results", str(project / "results")]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert str(path) in err
    assert says in err


def rename(project: Path, name: str, **changes: Any) -> None:
    write(project).unlink()
    data = DOORS | {"id": name} | changes
    (project / "config" / "benchmarks" / f"{name}.yaml").write_text(yaml.safe_dump(data))


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("doors-fixed", {}, "'goals' must be fixed, as the name says, not rand"),
        ("mt10", {}, "has other tasks than mt10-fixed.yaml, and both are of 'mt10'"),
        ("mt1-reach-v3-rand", {}, "there is this benchmark of one task without a file"),
        ("Doors", {}, "a name is made of lower-case letters"),
    ],
)
def test_a_name_that_says_something_else_is_refused(
    project: Path, name: str, changes: dict[str, Any], says: str
) -> None:
    rename(project, name, **changes)
    with pytest.raises(UserError, match=says):
        load_benchmark(name)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("runs: [{benchmarks: [mt10-rnd], methods: [d2r]}]", "did you mean 'mt10-rand'"),
        ("runs: [{benchmarks: [mt1-reech-v3-rand], methods: [d2r]}]", "did you mean 'mt1-reach-v3-rand'"),
        ("budget: {}", "must not be empty"),
        ("budget: {mt52: {steps: 500, warmup_steps: 5}}", "unknown set of tasks 'mt52'; did you mean 'mt50'"),
    ],
)
def test_a_scale_that_names_what_there_is_not_gets_one_line(project: Path, change: str, says: str) -> None:
    path = project / "config" / "scales" / "smoke.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | yaml.safe_load(change)))
    with pytest.raises(UserError, match=says) as caught:
        load_scale("smoke")
    assert str(caught.value).startswith(str(path))


def test_tasks_and_goals_make_another_run_and_words_do_not(project: Path) -> None:
    write(project)
    one = doors()
    others = []
    for change in ({"goals": "fixed"}, {"tasks": DOORS["tasks"][:2]}, {"tasks": DOORS["tasks"][::-1]}):
        write(project, **change)
        others.append(doors())
    assert len({identity(config) for config in [one, *others]}) == 1 + len(others)
    assert not any(is_run(stated(one), other) for other in others)
    write(project, description="Said otherwise.")
    assert identity(doors()) == identity(one)
    assert is_run(stated(one), doors())


def test_a_changed_file_of_an_old_id_makes_another_run(project: Path) -> None:
    before = resolve_run(load_scale("smoke"), "mt10-rand", "d2r", 1)
    old = stated(before).model_dump()
    del old["config"]["tasks"], old["config"]["goals"]
    old["config_hash"] = config_hash(old["config"])
    assert is_run(Stated.model_validate(old), before), "as records from before there were files"
    for name in ("mt10-rand", "mt10-fixed"):
        path = project / "config" / "benchmarks" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"tasks": ["reach-v3"]}))
    forget_configuration()
    after = resolve_run(load_scale("smoke"), "mt10-rand", "d2r", 1)
    assert identity(after) != identity(before)
    assert not is_run(Stated.model_validate(old), after)


def test_a_record_of_tasks_that_are_no_file_here_is_read(project: Path) -> None:
    path = write(project)
    written = stated(doors())
    path.unlink()
    forget_configuration()
    assert written.run_config("run.json").trained_on.tasks == tuple(DOORS["tasks"])
    data = written.model_dump()
    del data["config"]["tasks"]
    data["config_hash"] = config_hash(data["config"])
    with pytest.raises(UserError, match=r"unknown benchmark 'mt3-doors'"):
        Stated.model_validate(data).run_config("run.json")


def test_plan_names_the_sets_that_take_another_ones_budget(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project)
    path = project / "config" / "scales" / "smoke.yaml"
    data = yaml.safe_load(path.read_text())
    data["runs"] = [{"benchmarks": ["mt3-doors", "mt10-rand"], "methods": ["mtsac"]}]
    path.write_text(yaml.safe_dump(data))
    results = ["--results", str(project / "results")]
    assert main(["plan", *results]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "names no budget" in line]
    assert len(said) == 1
    assert said[0].startswith("mt3-doors: ")
    assert "that of mt10 holds" in said[0]
    assert main(["plan", "--json", *results]) == 0
    assert json.loads(capsys.readouterr().out)["budget_of"] == {"mt3-doors": "mt10"}


def test_the_name_of_a_set_is_that_of_its_benchmarks() -> None:
    assert {suite_of(name) for name in benchmark_ids()} == {
        "mt10", "mt25", "mt50", "transfer-near", "transfer-far", *(f"mt1-{task}" for task in TASKS)
    }  # fmt: skip
