"""The report page in a real headless Chromium: it works by mouse and keyboard, and asks nothing of any network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin, urlparse

import pytest

from d2r.findings.collect import collect
from d2r.findings.results import load_results
from d2r.report.figures import FIGURES, write_figures
from d2r.report.page import write_report
from d2r.report.tables import BUILDERS, write_tables
from tests.support.projects import working_in

from .chromium import Browser, find_chromium
from .synthetic import Plan, write_project, write_runs

PLAN = Plan(
    benchmarks=("mt10-rand",),
    levels={"d2r": 0.7, "d2r-naive": 0.4, "mtsac": 0.3, "softmod-deep": 0.5},
    missing=[("mt10-rand", "d2r-naive", 2)],
    failed=[("mt10-rand", "mtsac", 3)],
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("project")
    with working_in(root):
        folder = write_project(root, PLAN)
        write_runs(folder, PLAN)
        collect(folder)
        results = load_results(folder)
        write_tables(results)
        write_figures(results)
        yield write_report(results)


@pytest.fixture(scope="module")
def browser(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine")
    chromium = Browser(executable, tmp_path_factory.mktemp("profile"))
    chromium.resize(1200, 900)
    chromium.open(page)
    yield chromium
    chromium.close()


def test_every_link_leads_to_a_file(page: Path) -> None:
    html = page.read_text().split('<script type="application/json"')[0]
    links = set(re.findall(r'href="([^"]+)"', html)) - {"data:,"}
    assert any(link.startswith("../runs/mt10-rand/d2r/") for link in links)
    for link in links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in html
        else:
            target = Path(urlparse(urljoin(page.as_uri(), link)).path)
            assert target.exists(), link
            assert page.parents[1] in target.parents


def test_the_page_holds_every_table_and_figure_and_says_smoke(page: Path) -> None:
    html = page.read_text()
    for build in BUILDERS:
        assert f'id="table-{build.__name__.removesuffix("_table")}"' in html
    for spec in FIGURES:
        assert f'id="figure-{spec.name}"' in html
    assert "SMOKE SCALE" in html
    assert "1 failed, 1 missing" in html


def test_what_was_never_reached_sorts_after_every_number(browser: Browser) -> None:
    browser.value("document.getElementById('table-efficiency').open = true")
    rows = "[...document.querySelectorAll('table[data-table=efficiency] tbody tr')]"
    column = f"{rows}.map((row) => row.cells[5].textContent)"
    browser.value("document.querySelectorAll('table[data-table=efficiency] th button')[5].focus()")
    browser.press("Enter")
    ascending = [text.startswith(">") for text in browser.value(column)]
    assert ascending == sorted(ascending)
    assert len(set(ascending)) == 2


def test_no_error_and_no_request_beside_the_page_itself(browser: Browser, page: Path) -> None:
    assert browser.errors == []
    outside = [url for url in browser.requests if not url.startswith(("data:", "blob:"))]
    assert set(outside) <= {page.as_uri()}


def traces(browser: Browser, plot: str) -> int:
    return int(browser.value(f"document.getElementById('{plot}').data.length"))


def test_toggles_add_and_remove_curves(browser: Browser) -> None:
    browser.value("document.querySelector('[data-pick=none]').click()")
    assert traces(browser, "curve-plot") == 0
    browser.value("document.querySelector('#curve-checks input[value=d2r-naive]').click()")
    of_two_runs = traces(browser, "curve-plot")
    assert of_two_runs == 1
    browser.value("document.querySelector('#curve-checks input[value=d2r-naive]').click()")
    browser.value("document.querySelector('#curve-checks input[value=d2r]').click()")
    of_three_runs_with_band = traces(browser, "curve-plot")
    assert of_three_runs_with_band == 2
    browser.value("document.getElementById('curve-bands').click()")
    assert traces(browser, "curve-plot") == 1
    browser.value("document.getElementById('curve-seeds').click()")
    assert traces(browser, "curve-plot") == 4
    browser.value("document.querySelector('[data-pick=all]').click()")
    assert traces(browser, "curve-plot") > 3
    assert browser.errors == []


def test_a_band_has_a_gap_where_there_is_no_interval(browser: Browser) -> None:
    assert browser.value("JSON.stringify(stretches([null, 1, 2, null, null, 3, null]))") == "[[1,2],[5]]"


def test_hovering_a_curve_shows_its_numbers(browser: Browser) -> None:
    browser.value("document.querySelector('[data-pick=none]').click()")
    browser.value("document.querySelector('#curve-checks input[value=d2r]').click()")
    browser.value("document.getElementById('curve-plot').scrollIntoView()")
    place = browser.value(
        "(() => { const p = document.querySelector('#curve-plot .point').getBoundingClientRect();"
        " return [p.x + p.width / 2, p.y + p.height / 2]; })()"
    )
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    browser.value("new Promise((done) => setTimeout(done, 400))")
    text = browser.value("document.querySelector('#curve-plot .hoverlayer').textContent")
    assert "D2R" in text
    assert "step" in text


def test_the_task_picker_draws_another_route_and_the_slider_another_time(browser: Browser) -> None:
    def state() -> tuple[str, str]:
        drawn = browser.value(
            "JSON.stringify(document.getElementById('route-plot').data.map((t) => [t.x, t.line]))"
        )
        return browser.value("document.getElementById('route-words').textContent"), drawn

    first = state()
    assert "D2R, " in first[0]
    choose = "(() => {{ const s = document.getElementById('{0}'); s.{1}; s.dispatchEvent(new Event('input')); }})()"
    browser.value(choose.format("route-task", "selectedIndex = 3"))
    second = state()
    assert first[0] != second[0]
    assert first[1] != second[1]
    browser.value("document.getElementById('route-step').focus()")
    browser.press("ArrowLeft")
    third = state()
    assert second[0] != third[0]
    assert browser.errors == []


def test_tables_sort_and_filter_with_the_keyboard(browser: Browser) -> None:
    rows = "[...document.querySelectorAll('table[data-table=runs] tbody tr')]"
    column = f"{rows}.filter((row) => !row.hidden).map((row) => row.cells[2].textContent)"
    browser.value("document.getElementById('table-runs').open = true")
    browser.value("document.querySelectorAll('table[data-table=runs] th button')[2].focus()")
    browser.press("Enter")
    ascending = browser.value(column)
    assert ascending == sorted(ascending)
    browser.press(" ")
    assert browser.value(column) == sorted(ascending, reverse=True)
    browser.value(
        "(() => { const f = document.querySelector('[data-filter=runs]'); f.value = 'mt10-rand failed';"
        " f.dispatchEvent(new Event('input')); })()"
    )
    assert browser.value(column) == ["3"]


def test_a_number_opens_the_list_of_its_run_files(browser: Browser, page: Path) -> None:
    browser.value("document.querySelector('table[data-table=main] a[data-runs]').focus()")
    browser.press("Enter")
    assert browser.value("document.getElementById('files').open")
    links = browser.value("[...document.querySelectorAll('#files-list a')].map((a) => a.href)")
    assert len(links) == 15
    assert all(Path(urlparse(link).path).is_file() for link in links)
    browser.value("document.getElementById('files').close()")


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_everything_without_scrolling_sideways(browser: Browser, dark: bool) -> None:
    browser.resize(390, 800, dark=dark)
    browser.value("new Promise((done) => setTimeout(done, 300))")
    assert browser.value("document.documentElement.scrollWidth") <= 390
    background = browser.value("getComputedStyle(document.body).backgroundColor")
    light = sum(int(part) for part in re.findall(r"\d+", background)[:3]) / 3
    assert (light < 128) == dark
    assert browser.value("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    browser.resize(1200, 900)
    assert browser.errors == []
