"""Editors are told of what lies in ``config/`` the same as commands say."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from d2r.config import project_root
from d2r.config.file_schemas import file_schemas
from d2r.config.networks import network_classes
from d2r.config.reader import read_yaml

CONFIG = project_root() / "config"
FILES = sorted(CONFIG.rglob("*.yaml"))
SCHEMAS = file_schemas()


def faults(folder: str, content: object) -> list[str]:
    validator = jsonschema.Draft202012Validator(SCHEMAS[folder])
    return [error.message for error in validator.iter_errors(content)]


def changed(name: str, *place: str, value: Any) -> Any:
    """What a file of ``config/`` holds, with another value in one place."""
    content = copy.deepcopy(read_yaml(CONFIG / f"{name}.yaml"))
    inner = content
    for key in place[:-1]:
        inner = inner.setdefault(key, {})
    inner[place[-1]] = value
    return content


@pytest.mark.parametrize("folder", SCHEMAS)
def test_a_schema_is_one(folder: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[folder])


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_is_as_its_schema_says(path: Path) -> None:
    assert path.parent.name in SCHEMAS, (
        f"give the files of config/{path.parent.name} a schema: file_schemas.py"
    )
    assert faults(path.parent.name, read_yaml(path)) == []


@pytest.mark.parametrize("folder", SCHEMAS)
def test_files_name_the_schema_of_their_folder(folder: str) -> None:
    mark = "# yaml-language-server: $schema="
    lines = [path.read_text().splitlines()[0] for path in FILES if path.parent.name == folder]
    named = {line.removeprefix(mark) for line in lines if line.startswith(mark)}
    assert named == {f"../schema/{folder}.json"}
    (name,) = named
    assert json.loads((CONFIG / folder / name).read_text())["$schema"]


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("methods/d2r", ("netwrok",), {}),
        ("methods/d2r", ("network", "type"), "router"),
        ("methods/d2r", ("network", "num_experts"), 4),
        ("methods/care", ("network", "task_embeddings"), [[1.0]]),
        ("methods/d2r", ("sac", "discount"), 1.5),
        ("methods/d2r", ("color",), "red"),
        ("methods/d2r-n4", ("network", "num_moduls"), 4),
        ("protocols/d2r-official", ("horizon",), 501),
        ("protocols/d2r-official", ("rand_goals",), "some"),
        ("scales/lite", ("seeds",), []),
        ("scales/lite", ("budget", "mt10", "steps"), "many"),
    ],
)
def test_what_commands_refuse_is_underlined(name: str, place: tuple[str, ...], value: object) -> None:
    assert faults(Path(name).parent.name, changed(name, *place, value=value))


def test_what_a_method_lacks_is_said_unless_it_extends_another() -> None:
    assert "'kind' is a required property" in faults("methods", {"id": "x"})
    words = {"title": "X", "source": "Ours.", "summary": "An X."}
    assert faults("methods", {"id": "x", "extends": "d2r", **words}) == []
    assert faults("methods", {"id": "x", "extends": "d2r", **words, "title": 3}) != []
    assert "'title' is a required property" in faults("methods", {"id": "x", "extends": "d2r"})
    whole = changed("methods/d2r", "network", value={"num_modules": 4})
    assert faults("methods", whole) == ["'type' is a required property"]


def test_every_network_type_is_known() -> None:
    of_types = SCHEMAS["methods"]["properties"]["network"]["properties"]["type"]["enum"]
    assert set(of_types) == set(network_classes())
