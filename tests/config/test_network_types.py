"""Which class a network's ``type`` means, and what it costs to find out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Literal

import pytest

from d2r.config import load_scale, method_ids, project_root, resolve_run
from d2r.config.files import config_folder
from d2r.config.networks import _CLASSES, FilmConfig, MlpConfig, NetworkBase, network_class, network_classes
from d2r.config.parse import parse
from d2r.config.reader import read_yaml
from d2r.config.schema import RunConfig
from d2r.errors import UserError

OWN_FILE = """
from typing import Literal
from d2r.config.networks import NetworkBase, Size

class OwnConfig(NetworkBase):
    type: Literal["type-of-a-test"] = "type-of-a-test"
    own_dim: Size = 40
    own_number: Size = 2
"""


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file more in ``d2r/networks``."""
    (tmp_path / "type_of_a_test.py").write_text(OWN_FILE)
    package = import_module("d2r.networks")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    yield
    _CLASSES.pop("type-of-a-test", None)
    sys.modules.pop("d2r.networks.type_of_a_test", None)


def run_with(**network: object) -> RunConfig:
    written = resolve_run(load_scale("smoke"), "mt10-rand", "mtsac", 1).model_dump(mode="json")
    return parse(RunConfig, written | {"network": network}, "run.json")


@pytest.mark.usefixtures("own_file")
def test_a_file_of_networks_brings_its_own_class() -> None:
    config = run_with(type="type-of-a-test", own_dim=8)
    assert config.model_dump()["network"] == {"type": "type-of-a-test", "own_dim": 8, "own_number": 2}
    assert parse(RunConfig, config.model_dump(mode="json"), "again") == config
    with pytest.raises(UserError, match=r"'network.own_dim': input should be greater than 0, not 0"):
        run_with(type="type-of-a-test", own_dim=0)
    with pytest.raises(UserError, match=r"unknown key 'network.own_dam'; did you mean 'own_dim'"):
        run_with(type="type-of-a-test", own_dam=8)


@pytest.mark.usefixtures("own_file")
def test_a_scale_may_set_its_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(project_root() / "config", tmp_path / "project/config")
    scale = tmp_path / "project/config/scales/smoke.yaml"
    scale.write_text(scale.read_text() + "network: {own_number: 3}\n")
    monkeypatch.setenv("D2R_ROOT", str(tmp_path / "project"))
    assert load_scale("smoke").network == {"own_number": 3}


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ({"type": "type-of-a-test"}, "'network.type': unknown type 'type-of-a-test'"),
        ({"type": "registry"}, "'network.type': unknown type 'registry'"),
        ({"type": "../film"}, "unknown type"),
        ({"type": "film.x"}, "unknown type"),
        ({"type": "flim"}, "unknown type 'flim'; did you mean 'film'"),
        ({"type": 3}, "unknown type '3'"),
        ({"type": None}, "unknown type"),
        ({}, "key 'network.type' is missing"),
        ({"type": "film", "hidden_dmi": 8}, "unknown key 'network.hidden_dmi'; did you mean 'hidden_dim'"),
        ({"type": "film", "hidden_dim": "8"}, "'network.hidden_dim': input should be a valid integer"),
        (
            {"type": "mlp", "matched": {"type": "film", "contxt_dim": 8}},
            "unknown key 'network.matched.contxt_dim'; did you mean 'context_dim'",
        ),
    ],
)
def test_what_is_no_network_gets_one_line(network: dict[str, object], says: str) -> None:
    with pytest.raises(UserError) as error:
        run_with(**network)
    assert says in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_two_classes_cannot_be_of_one_type() -> None:
    with pytest.raises(TypeError, match="network type 'film' is FilmConfig already, and SecondConfig"):

        class SecondConfig(NetworkBase):
            type: Literal["film"] = "film"

    assert network_class("film") is FilmConfig


def test_a_class_that_extends_another_is_of_its_type() -> None:
    class WiderConfig(MlpConfig):
        further: bool = False

    assert network_class("mlp") is MlpConfig
    assert WiderConfig().type == "mlp"


def type_as_written(method: str) -> str:
    data = read_yaml(config_folder("methods") / f"{method}.yaml")
    return data.get("network", {}).get("type") or type_as_written(data["extends"])


def test_methods_whose_types_are_declared_here_resolve_without_pytorch() -> None:
    """A network type in a file of its own is known only at the price of importing that file."""
    known = network_classes(in_their_own_files=False).items()
    declared = {name for name, network in known if network.__module__ == NetworkBase.__module__}
    methods = [method for method in method_ids() if type_as_written(method) in declared]
    assert len(methods) >= 30
    program = """
import sys
from d2r.config import load_scale, resolve_run
for method in sys.argv[1:]:
    resolve_run(load_scale("paper"), "mt10-rand", method, 1)
    resolve_run(load_scale("paper"), "mt50-fixed", method, 1)
assert "torch" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, *methods], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
