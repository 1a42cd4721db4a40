"""The report page as a file: whole, small, linked, and made of nothing that a stranger could have written as code."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlparse

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from d2r.config import project_root
from d2r.files import read_unpacked
from d2r.findings.collect import collect
from d2r.findings.results import load_results
from d2r.report import page_data as data_module
from d2r.report.figures import write_figures
from d2r.report.page import MOST_CELLS, SECTIONS, build_page, write_report
from d2r.report.page_data import ALPHABET, LEVELS, encoded, page_data, round_out
from d2r.report.tables import BUILDERS, write_tables
from d2r.runs.layout import collected_path
from tests.support import synthetic
from tests.support.packed import write_packed
from tests.support.projects import working_in
from tests.support.synthetic import Plan, write_project, write_runs

MOST_BYTES = 1_500_000
HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">{{ 7 * 7 }}'
PLAN = Plan(
    benchmarks=("mt10-fixed", "mt10-rand"),
    levels={"d2r": 0.7, "d2r-naive": 0.4, "mtsac": 0.3, "softmod-deep": 0.5},
    missing=[("mt10-rand", "d2r-naive", 2)],
    failed=[("mt10-rand", "mtsac", 3)],
)


class Read(HTMLParser):
    """What a page holds: ids, links, elements, and the text of its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.elements: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.scripts: dict[str, str] = {}
        self._script: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements[tag] += 1
        self.attributes |= found.keys()
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" else []
        self._script = found.get("type", "") if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._script = None


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("project")
    with working_in(root) as patch:
        patch.setitem(synthetic.METHODS, "mtsac", synthetic.METHODS["mtsac"] | {"title": HOSTILE})
        folder = write_project(root, PLAN)
        write_runs(folder, PLAN)
        collect(folder)
        results = load_results(folder)
        write_tables(results)
        write_figures(results)
        yield write_report(results)


@pytest.fixture(scope="module")
def read(page: Path) -> Read:
    return Read(page.read_text())


def assert_whole(path: Path, read: Read) -> None:
    assert path.stat().st_size < MOST_BYTES
    assert [name for name, count in Counter(read.ids).items() if count > 1] == []
    for link in read.links:
        if link.startswith("#"):
            assert link[1:] in read.ids, link
        else:
            target = Path(urlparse(urljoin(path.as_uri(), link)).path)
            assert target.exists(), link
            assert path.parents[1].resolve() in target.resolve().parents


def test_links_ids_and_size(page: Path, read: Read) -> None:
    assert "../runs/mt10-rand/d2r/" in read.links
    assert "../figures/differences.svg" in read.links
    assert_whole(page, read)


@pytest.mark.parametrize(
    "path",
    sorted((project_root() / "results/released").glob("*/report/index.html")),
    ids=lambda p: p.parts[-3],
)
def test_links_ids_and_size_of_released_pages(path: Path) -> None:
    assert_whole(path, Read(path.read_text()))


def test_it_asks_for_nothing_and_runs_its_own_script_alone(page: Path, read: Read) -> None:
    html = page.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    own = base64.b64encode(hashlib.sha256(read.scripts[""].encode()).digest()).decode()
    said = policy.group(1).replace("&#39;", "'")
    assert (
        said
        == f"default-src 'none'; script-src 'sha256-{own}'; style-src 'unsafe-inline'; img-src data: 'self' file:"
    )
    assert set(re.findall(r'(?:src|href)="(\w+:[^"]*)"', html)) == {"data:,"}


def test_text_of_strangers_stays_text(page: Path, read: Read) -> None:
    assert read.elements["script"] == 2
    assert read.elements["img"] == 0
    assert "onerror" not in read.attributes
    assert "49" not in page.read_text().split("<h1")[0].split("<title>")[1]
    shown = json.loads(read.scripts["application/json"])
    assert HOSTILE in [method["title"] for method in shown["methods"]]
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in page.read_text()
    assert "{{ 7 * 7 }}" in page.read_text()


def test_it_holds_every_section_and_table_and_says_smoke(page: Path, read: Read) -> None:
    assert {name for name, _ in SECTIONS} <= set(read.ids)
    assert {f"table-{build.__name__.removesuffix('_table')}" for build in BUILDERS} <= set(read.ids)
    html = page.read_text()
    assert "SMOKE SCALE" in html
    assert "1 failed, 1 missing" in html
    assert "mt10-rand / mtsac / seed 3" in html


def test_every_table_and_figure_stands_beside_its_command(page: Path) -> None:
    html = page.read_text()
    parts = re.findall(r'<section id="(\w+)".*?</section>', html, re.DOTALL)
    assert parts == [name for name, _ in SECTIONS]
    for name in parts[:-1]:
        section = re.search(rf'<section id="{name}".*?</section>', html, re.DOTALL)
        assert section is not None
        assert re.search(r'class="made">Made by <code>d2r \w+ --results FOLDER', section.group()), name
    tables = re.findall(r'<details class="table".*?</details>', html, re.DOTALL)
    assert len(tables) == len(BUILDERS)
    assert all("d2r tables --results FOLDER" in table for table in tables)


def test_films_that_are_there_are_shown_and_no_strange_name(page: Path, tmp_path: Path) -> None:
    results = replace(load_results(page.parents[1]), folder=tmp_path)
    assert Read(build_page(results)).elements["img"] == 0
    films = tmp_path / "films"
    films.mkdir()
    for name in ("reach.gif", "drawer-close.gif", "notes.txt", '" onerror="alert(1).gif'):
        (films / name).touch()
    html = build_page(results)
    shown = Read(html)
    assert shown.elements["img"] == 2
    assert "onerror" not in shown.attributes
    assert re.findall(r'<img src="([^"]*)"', html) == ["../films/drawer-close.gif", "../films/reach.gif"]


def test_the_same_results_give_the_same_bytes(page: Path) -> None:
    assert build_page(load_results(page.parents[1])) == page.read_text()


def test_long_tables_are_cut_and_say_so(
    make_results: Callable[[Plan], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = load_results(make_results(Plan(benchmarks=("mt10-rand",))))
    monkeypatch.setattr("d2r.report.page.MOST_CELLS", 30)
    html = build_page(results)
    shown = re.search(r'id="table-runs".*?</details>', html, re.DOTALL)
    assert shown is not None
    rows = shown.group().count("<tr>") - 1
    assert 1 < rows < 9
    assert f"The first {rows} rows; {9 - rows} more are in the files below." in shown.group()
    assert MOST_CELLS > 30


def decoded(text: str, low: float, high: float) -> list[float]:
    """As the page's script reads it."""
    digits = [ALPHABET.index(letter) for letter in text]
    levels = [64 * first + second for first, second in zip(digits[::2], digits[1::2], strict=True)]
    return [low + level / LEVELS * (high - low) for level in levels]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
@example([10000.999999999884])
@example([-10000.999999999884])
def test_curves_are_read_as_they_were_written(values: list[float]) -> None:
    low, high = round_out(min(values), -1), round_out(max(values), 1)
    assert low <= min(values)
    assert high >= max(values)
    step = (high - low) / LEVELS
    assert np.allclose(
        decoded(encoded(np.array(values), low, high), low, high), values, atol=0.51 * step + 1e-12
    )


def test_tenths_of_success_are_met_exactly() -> None:
    tenths = np.arange(11) / 10
    assert decoded(encoded(tenths, 0.0, 1.0), 0.0, 1.0) == pytest.approx(tenths, abs=1e-15)


@pytest.fixture
def small(make_results: Callable[[Plan], Path]) -> Path:
    return make_results(Plan(benchmarks=("mt10-rand",), levels={"d2r": 0.7, "d2r-naive": 0.4, "mtsac": 0.3}))


def test_the_page_has_the_curve_of_every_run_and_task(small: Path) -> None:
    results = load_results(small)
    found = page_data(results)
    success = found["curves"]["mt10-rand"]["success"]
    metrics = pd.read_csv(small / "runs/mt10-rand/mtsac/seed2/metrics.csv")
    rows = metrics[metrics["quantity"] == "success"]
    entry = success["methods"]["mtsac"]
    assert found["grids"][entry["grid"]] == sorted(rows["step"].unique())
    assert decoded(entry["runs"]["2"], success["low"], success["high"]) == pytest.approx(
        rows.groupby("step")["value"].mean().to_numpy(), abs=1e-3
    )
    runs = small / "runs/mt10-rand/mtsac"
    everything = pd.concat(pd.read_csv(path) for path in runs.glob("*/metrics.csv"))
    everything = everything[everything["quantity"] == "success"]
    for task, text in zip(found["tasks"]["mt10-rand"], entry["tasks"], strict=True):
        of_task = everything[everything["task"] == task]
        assert decoded(text, success["low"], success["high"]) == pytest.approx(
            of_task.groupby("step")["value"].mean().to_numpy(), abs=1e-3
        )


def test_the_page_has_the_route_of_every_seed_task_and_step(small: Path) -> None:
    found = page_data(load_results(small))
    method = found["routes"]["mt10-rand"]["d2r-naive"]
    modules = method["modules"]
    assert set(method["seeds"]) == {"1", "2", "3"}
    run = method["seeds"]["3"]
    recorded = pd.read_csv(small / "runs/mt10-rand/d2r-naive/seed3/routes.csv", dtype={"target": str})
    by_task = dict(zip(found["tasks"]["mt10-rand"], run["routes"], strict=True))
    pairs = [(to, source) for to in range(2, modules + 2) for source in range(1, to)]
    for task, part in recorded.groupby("task"):
        for place, step in enumerate(found["grids"][run["grid"]]):
            text = by_task[task][place * len(pairs) : (place + 1) * len(pairs)]
            edges = {
                pair: (ALPHABET.index(at) - 1) / 62 for pair, at in zip(pairs, text, strict=True) if at != "A"
            }
            rows = part[part["step"] == step]
            targets = rows["target"].replace("out", str(modules + 1)).astype(int)
            expected = dict(zip(zip(targets, rows["source"], strict=True), rows["weight"], strict=True))
            assert edges.keys() == expected.keys()
            assert [edges[pair] for pair in expected] == pytest.approx(list(expected.values()), abs=0.01)


def test_a_larger_scale_has_coarser_curves_and_fewer_routes_and_no_larger_page(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = load_results(small)
    whole = page_data(results)
    size = sum(
        len(text)
        for method in whole["routes"]["mt10-rand"].values()
        for run in method["seeds"].values()
        for text in (*run["routes"], *run["used"])
    )
    monkeypatch.setattr(data_module, "MOST_ROUTE_CHARACTERS", size // 2)
    monkeypatch.setattr(data_module, "MOST_POINTS", 1)
    monkeypatch.setattr(data_module, "POINTS_OF_A_CURVE", (2, 60))
    less = page_data(results)
    kept = {name: list(method["seeds"]) for name, method in less["routes"]["mt10-rand"].items()}
    assert kept == {"d2r": ["1", "2"], "d2r-naive": ["1"]}
    entry = less["curves"]["mt10-rand"]["success"]["methods"]["d2r"]
    assert less["grids"][entry["grid"]] == [200, 800]


def test_edges_that_no_network_has_are_left_out(small: Path) -> None:
    collected = collected_path(small, "routes")
    lines = read_unpacked(collected).decode().splitlines()
    for target, source in (("1", "5"), ("4", "4"), ("back", "2")):
        cells = lines[1].split(",")
        lines.append(",".join([*cells[:7], target, source, "0.5"]))
    write_packed(collected, ("\n".join(lines) + "\n").encode())
    with_strange = page_data(load_results(small))["routes"]["mt10-rand"]["d2r"]
    assert set(with_strange["seeds"]) == {"1", "2", "3"}
