"""One colour a method: declared, apart from every other of a scale, and never moving."""

from __future__ import annotations

import shutil
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2r.config import (
    identity,
    load_method,
    load_scale,
    method_ids,
    plan_runs,
    project_root,
    resolve_run,
    scale_ids,
)
from d2r.findings.results import MethodInfo
from d2r.report.colors import APART, distance, method_color, oklab
from d2r.report.figures.style import Look
from tests.support.projects import forget_configuration


def test_oklab_is_as_its_author_prints_it() -> None:
    """White is (1, 0, 0) and black the origin; red from the tables of Ottosson's article."""
    assert oklab("#ffffff") == pytest.approx([1, 0, 0], abs=1e-4)
    assert oklab("#000000") == pytest.approx([0, 0, 0], abs=1e-9)
    assert oklab("#ff0000") == pytest.approx([0.628, 0.225, 0.126], abs=1e-3)


@given(*[st.integers(0, 0xFFFFFF).map("#{:06x}".format)] * 3)
def test_distance_is_a_metric(first: str, second: str, third: str) -> None:
    assert distance(first, first) == 0
    assert distance(first, second) == distance(second, first)
    assert distance(first, third) <= distance(first, second) + distance(second, third) + 1e-12


def test_every_method_of_ours_states_its_colour() -> None:
    assert [name for name in method_ids() if load_method(name).color is None] == []


@pytest.mark.parametrize("scale", scale_ids())
def test_no_two_methods_of_a_scale_look_alike(scale: str) -> None:
    methods = {key.method for key in plan_runs(load_scale(scale))}
    pairs = combinations(sorted(methods), 2)
    alike = [pair for pair in pairs if distance(*map(method_color, pair)) < APART]
    assert not alike, f"give one of each pair another color in config/methods: {alike}"


def test_a_colour_does_not_depend_on_what_else_was_run() -> None:
    infos = {name: MethodInfo(name, name, load_method(name).kind) for name in ("d2r", "mtsac", "paco")}
    alone = Look([infos["mtsac"]]).color("mtsac")
    assert Look(list(infos.values())).color("mtsac") == alone == load_method("mtsac").color


def test_an_added_method_has_a_colour_of_its_own(tmp_path, monkeypatch) -> None:
    shutil.copytree(project_root() / "config", tmp_path / "config")
    monkeypatch.setenv("D2R_ROOT", str(tmp_path))
    (tmp_path / "config" / "methods" / "mine.yaml").write_text(
        "id: mine\ntitle: Mine\nkind: variant\nextends: d2r-naive\nsource: S\nsummary: S\n"
    )
    declared = [load_method(name).color for name in method_ids() if name != "mine"]
    color = method_color("mine")
    assert min(distance(color, str(other)) for other in declared) >= APART
    (tmp_path / "config" / "methods" / "yours.yaml").write_text(
        "id: yours\ntitle: Yours\nkind: variant\nextends: d2r-naive\nsource: S\nsummary: S\n"
    )
    assert method_color("mine") == color
    assert method_color("yours") != color


def test_a_method_without_a_file_keeps_the_colour_of_its_id() -> None:
    assert method_color("gone") == method_color("gone") != method_color("lost")


def test_a_colour_is_no_part_of_what_a_run_is(tmp_path, monkeypatch) -> None:
    before = identity(resolve_run(load_scale("lite"), "mt10-rand", "mtsac", 1))
    shutil.copytree(project_root() / "config", tmp_path / "config")
    monkeypatch.setenv("D2R_ROOT", str(tmp_path))
    path = tmp_path / "config" / "methods" / "mtsac.yaml"
    path.write_text(path.read_text().replace(method_color("mtsac"), "#123456"))
    forget_configuration()
    assert method_color("mtsac") == "#123456"
    assert identity(resolve_run(load_scale("lite"), "mt10-rand", "mtsac", 1)) == before
