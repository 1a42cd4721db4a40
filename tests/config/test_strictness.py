"""A value in a file is what it looks like: nothing is taken for a number, a boolean or a seed that is none."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from d2r.cli.main import main
from d2r.config import RunConfig, check_seed, load_method, load_scale, method_ids, resolve_run
from d2r.config.reader import read_yaml
from d2r.errors import UserError
from d2r.runs.manifest import is_place

TRAIN = ["train", "--benchmark", "mt10-rand", "--method", "d2r", "--seed", "1"]


def read(text: str, folder: Path) -> Any:
    path = folder / "some.yaml"
    path.write_text(f"key: {text}\n", encoding="utf-8")
    return read_yaml(path)["key"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("7", 7), ("-4", -4), ("+4", 4), ("1500000", 1_500_000),
        ("0.24", 0.24), ("1e-4", 1e-4), ("1E+4", 1e4), ("-2.5e3", -2500.0), (".5", 0.5), ("5.", 5.0),
        ("true", True), ("false", False), ("null", None), ("~", None), ("", None),
    ],
)  # fmt: skip
def test_numbers_booleans_and_nothing_as_they_are_written(text: str, value: object, tmp_path: Path) -> None:
    found = read(text, tmp_path)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "on", "off", "On", "OFF", "yes", "no", "Yes", "NO", "y", "n", "none",  # YAML 1.1: booleans
        "010", "-010", "0o10", "0x10", "0b10", "1_000", "00", "08", "01.5", "1_0.5",  # octal and the like, grouped
        "1:30", "190:20:30", "1:30.5",  # sexagesimal
        "2024-01-01", "2024-01-01 10:00:00",  # dates
        "<<", "=", "٣", "1e", "1e5.0", "0.1.2", "1,5", "'7'", '"true"',
    ],
)  # fmt: skip
def test_all_else_is_text(text: str, tmp_path: Path) -> None:
    assert read(text, tmp_path) == text.strip("'\"")


@pytest.mark.parametrize(
    "text",
    ["!!int 010", "!!bool off", "!!float 1:30", "!!timestamp 2024-01-01", "!mine 1", "! 1", "[!!set {a}]"],
)
def test_a_tag_is_refused_so_that_no_value_is_read_another_way(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"some.yaml:1: not valid YAML \(tag '!.*' is not allowed\)"):
        read(text, tmp_path)


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)


@given(
    data=st.dictionaries(
        words, st.recursive(plain | words, lambda v: st.lists(v) | st.dictionaries(words, v), max_leaves=6)
    )
)
def test_json_is_read_as_json(data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "some.yaml"
    path.write_text(json.dumps(data), encoding="utf-8")
    assert json.dumps(read_yaml(path)) == json.dumps(data)


@pytest.mark.parametrize(
    ("file", "old", "new", "key", "problem"),
    [
        ("methods/d2r", "sac: {", "sac: {max_log_alpha: off, ", "sac.max_log_alpha", "number, not 'off'"),
        ("methods/d2r", "sac: {", "sac: {lr_actor: true, ", "sac.lr_actor", "number, not True"),
        ("methods/d2r", "sac: {", "sac: {lr_actor: '3e-4', ", "sac.lr_actor", "number, not '3e-4'"),
        ("methods/d2r", "sac: {", "sac: {target_entropy: -1:30, ", "sac.target_entropy", "number, not '-1:30'"),
        ("methods/d2r", "route_balancing: true", "route_balancing: off", "sac.route_balancing", "boolean, not 'off'"),
        ("methods/d2r", "route_balancing: true", "route_balancing: 1", "sac.route_balancing", "boolean, not 1"),
        ("methods/d2r", "{type: routed}", "{type: routed, residual: no}", "network.residual", "boolean, not 'no'"),
        ("methods/d2r", "{type: routed}", "{type: routed, top_k: 02}", "network.top_k", "integer, not '02'"),
        ("methods/d2r", "title: D2R", "title: 2024", "title", "string, not 2024"),
        ("scales/smoke", "seeds: [1, 2]", "seeds: [1, 010]", "seeds.1", "integer, not '010'"),
        ("scales/smoke", "seeds: [1, 2]", "seeds: [0x10]", "seeds.0", "integer, not '0x10'"),
        ("scales/smoke", "seeds: [1, 2]", "seeds: [1_000]", "seeds.0", "integer, not '1_000'"),
        ("scales/smoke", "seeds: [1, 2]", "seeds: [1.0]", "seeds.0", "integer, not 1.0"),
        ("scales/smoke", "seeds: [1, 2]", "seeds: [4294967295]", "seeds.0", "less than or equal to 999999999"),
        ("scales/smoke", "seeds: [1, 2]", "seeds: []", "seeds", "must not be empty"),
        ("scales/smoke", "methods: all", "methods: []", "runs.0.methods", "must not be empty"),
        ("scales/smoke", "methods: all", "methods: every", "runs.0.methods", "'all', not 'every'"),
        ("scales/smoke", "methods: all", "methods: [no, on]", "", "unknown method 'no'"),
        ("scales/smoke", "methods: all", "methods: all, seeds: []", "runs.0.seeds", "must not be empty"),
        ("scales/smoke", "methods: all", "methods: all, seeds: [010]", "runs.0.seeds.0", "integer, not '010'"),
        ("scales/smoke", "width: 0.1", "width: true", "width", "number, not True"),
        ("scales/smoke", "batch_per_task: 16", "lr_actor: true", "sac.lr_actor", "number, not True"),
        ("scales/smoke", "steps: 240,", "steps: 4e2,", "budget.mt10.steps", "integer, not 400.0"),
        ("scales/smoke", "steps: 240,", "steps: 6:40,", "budget.mt10.steps", "integer, not '6:40'"),
        ("protocols/d2r-official", "reward_scale: 0.1", "reward_scale: yes", "reward_scale", "number, not 'yes'"),
        ("protocols/d2r-official", "id: d2r-official", "id: no", "id", "the file's name, 'd2r-official', not 'no'"),
    ],
)  # fmt: skip
def test_what_only_looks_like_a_value_is_refused_by_its_key(
    project: Path, file: str, old: str, new: str, key: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project / "config" / f"{file}.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert main([*TRAIN, "--results", str(project / "results")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line
    assert f"'{key}'" in line or not key
    assert problem in line


def leaves(data: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value in a tree of mappings and sequences, with the keys that lead to it."""
    pairs = (
        data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list | tuple) else ()
    )
    for key, value in pairs:
        yield from leaves(value, (*place, key))
    if not isinstance(data, dict | list | tuple):
        yield place, data


def test_no_number_or_switch_of_any_run_takes_another_kind_of_value() -> None:
    scale = load_scale("smoke")
    examples = {load_method(name).network.type: name for name in method_ids()}
    for method in examples.values():
        whole = resolve_run(scale, "mt10-rand", method, 1).model_dump(mode="json")
        for place, value in leaves(whole):
            wrong: list[object] = []
            if isinstance(value, bool):
                wrong = [int(value), str(value).lower(), "on"]
            elif isinstance(value, int | float):
                wrong = [True, str(value), math.nan]
            for other in wrong:
                spoilt = deepcopy(whole)
                *parents, last = place
                holder = spoilt
                for key in parents:
                    holder = holder[key]
                holder[last] = other
                with pytest.raises(ValidationError):
                    RunConfig.model_validate(spoilt)


@pytest.mark.parametrize("text", ["0", "1", "42", "999999999"])
def test_a_seed_is_what_a_folder_may_be_named_by(text: str) -> None:
    assert str(check_seed(text)) == text
    assert resolve_run(load_scale("smoke"), "mt10-rand", "d2r", int(text)).seed == int(text)
    assert is_place(PurePosixPath("mt10-rand", "d2r", f"seed{text}"))


@pytest.mark.parametrize(
    "text",
    ["1000000000", "4294967295", "-1", "-0", "+1", "01", "00", "1_0", "0x1", "1.0", "1e3", " 1", "1\n", "", "²", "one"],
)  # fmt: skip
def test_what_is_no_seed_is_refused_at_the_start_and_in_a_release(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    arguments = [*TRAIN[:-2], f"--seed={text}", "--results", str(results)]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "must be a whole number from 0 to 999999999" in line
    assert not results.exists()
    assert not is_place(PurePosixPath("mt10-rand", "d2r", f"seed{text}"))
