"""The report page in a real headless Chromium: it works by mouse and keyboard, and asks nothing of any network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest

from d2r.config import project_root
from d2r.findings.collect import collect
from d2r.findings.results import load_results
from d2r.report.page import write_report
from d2r.report.tables import write_tables
from tests.support.projects import working_in
from tests.support.synthetic import Plan, write_project, write_runs

from .chromium import Browser, find_chromium

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
        yield write_report(results)


@pytest.fixture(scope="module")
def browser(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine")
    chromium = Browser(executable, tmp_path_factory.mktemp("profile"))
    chromium.resize(1440, 900)
    chromium.open(page)
    yield chromium
    chromium.close()


def change(browser: Browser, control: str, what: str) -> None:
    """Set a control as a person would, so that the page hears of it."""
    browser.value(
        f"(() => {{ const c = document.getElementById('{control}'); c.{what};"
        " c.dispatchEvent(new Event('input')); c.dispatchEvent(new Event('change')); })()"
    )


def settle(browser: Browser) -> None:
    browser.value("new Promise((done) => setTimeout(done, 300))")


def test_no_error_and_no_request_beside_the_page_itself(browser: Browser, page: Path) -> None:
    assert browser.errors == []
    outside = [url for url in browser.requests if not url.startswith("data:")]
    assert set(outside) <= {page.as_uri()}


def test_the_headline_and_the_verdicts_are_above_the_fold(browser: Browser) -> None:
    for selector in ("h1", ".strip", ".forest tbody tr"):
        bottom = browser.value(f"document.querySelector('{selector}').getBoundingClientRect().bottom")
        assert bottom < 900, selector


def test_a_link_opens_what_it_names(browser: Browser) -> None:
    drawer = "document.getElementById('evidence-beats-baselines')"
    assert not browser.value(f"{drawer}.open")
    browser.value("document.querySelector('a[href=\"#evidence-beats-baselines\"]').click()")
    settle(browser)
    assert browser.value(f"{drawer}.open && {drawer}.parentElement.open")
    top = browser.value(f"{drawer}.getBoundingClientRect().top")
    assert 0 < top < 900
    bar = browser.value("document.querySelector('header').getBoundingClientRect().bottom")
    assert bar <= top + 1, "the navigation stays in view and hides nothing"
    browser.value("location.hash = '#table-runs'")
    settle(browser)
    assert browser.value("document.getElementById('table-runs').open")


def test_the_navigation_says_where_one_is(browser: Browser) -> None:
    browser.value("document.querySelector('nav a[href=\"#routes\"]').click()")
    settle(browser)
    assert browser.value("document.querySelector('nav a[aria-current]').hash") == "#routes"


def lines(browser: Browser, method: str, faint: bool) -> int:
    kind = ".faint" if faint else ":not(.faint)"
    return int(browser.value(f"document.querySelectorAll('.series[data-method={method}]{kind}').length"))


def test_the_legend_takes_methods_away_and_brings_them_back(browser: Browser) -> None:
    assert lines(browser, "mtsac", faint=True) == 2, "two finished runs"
    assert lines(browser, "mtsac", faint=False) == 2 + 10, "the mean of all, its own, and each task"
    chip = "document.querySelector('.chip[data-method=mtsac]')"
    browser.value(f"{chip}.click()")
    assert browser.value(f"{chip}.getAttribute('aria-pressed')") == "false"
    assert lines(browser, "mtsac", faint=False) == 0
    browser.value("document.querySelector('[data-pick=variant]').click()")
    assert lines(browser, "d2r-naive", faint=False) > 0
    assert lines(browser, "softmod-deep", faint=False) == 0
    browser.value("document.querySelector('[data-pick=all]').click()")
    assert lines(browser, "mtsac", faint=False) == 12


def test_pointing_at_a_curve_shows_its_numbers(browser: Browser) -> None:
    browser.value(
        "document.querySelector('.panel svg').scrollIntoView({ block: 'center', behavior: 'instant' })"
    )
    settle(browser)
    place = browser.value(
        "(() => { const p = document.querySelector('.panel svg').getBoundingClientRect();"
        " return [p.x + p.width * 0.9, p.y + p.height / 2]; })()"
    )
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    settle(browser)
    text = browser.value(
        "document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent"
    )
    assert "step 800" in text
    assert "D2R" in text
    assert " %" in text


def test_other_quantities_are_drawn(browser: Browser) -> None:
    change(browser, "curve-quantity", "value = 'alpha'")
    assert "SAC temperature" in browser.value("document.querySelector('#curve-panels h3').textContent")
    assert lines(browser, "d2r", faint=False) > 0
    change(browser, "curve-quantity", "value = 'success'")
    assert browser.errors == []


def test_the_route_explorer_shows_any_seed_task_and_time(browser: Browser) -> None:
    def state() -> tuple[str, str]:
        drawn = browser.value("document.getElementById('route-arcs').innerHTML")
        return browser.value("document.getElementById('route-words').textContent"), drawn

    seen = [state()]
    assert "seed 1, step 800" in seen[0][0]
    change(browser, "route-seed", "value = '3'")
    seen.append(state())
    assert "seed 3" in seen[-1][0]
    change(browser, "route-task", "selectedIndex = 3")
    seen.append(state())
    browser.value("document.getElementById('route-step').focus()")
    browser.press("ArrowLeft")
    seen.append(state())
    assert "step 600" in seen[-1][0]
    assert len({words for words, _ in seen}) == len({drawn for _, drawn in seen}) == 4
    assert browser.errors == []


def test_the_slider_reaches_the_end(browser: Browser) -> None:
    browser.value("document.getElementById('route-step').focus()")
    for _ in range(5):
        browser.press("ArrowRight")
    slider = "document.getElementById('route-step')"
    assert browser.value(f"{slider}.value === {slider}.max")
    style = f"getComputedStyle({slider})"
    assert browser.value(f"{style}.paddingLeft + {style}.paddingRight") == "0px0px"


def test_modules_used_are_shown_for_all_tasks_and_lead_to_their_route(browser: Browser) -> None:
    cells = "document.querySelectorAll('#route-usage .cell')"
    assert browser.value(f"{cells}.length") == 10 * 4
    before = browser.value("document.getElementById('route-words').textContent")
    browser.value(f"{cells}[4 * 7 + 1].dispatchEvent(new Event('click'))")
    after = browser.value("document.getElementById('route-words').textContent")
    assert after != before
    assert "step 400" in after


def test_tables_sort_and_filter_with_the_keyboard(browser: Browser) -> None:
    rows = "[...document.querySelectorAll('table[data-table=runs] tbody tr')]"
    heads = "[...document.querySelectorAll('table[data-table=runs] th button')]"
    place = browser.value(f"{heads}.findIndex((head) => head.textContent === 'seed')")
    column = f"{rows}.filter((row) => !row.hidden).map((row) => row.cells[{place}].textContent)"
    browser.value("document.getElementById('table-runs').open = true")
    browser.value(f"{heads}[{place}].focus()")
    browser.press("Enter")
    ascending = browser.value(column)
    assert ascending == sorted(ascending)
    assert len(set(ascending)) == 3
    browser.press(" ")
    assert browser.value(column) == sorted(ascending, reverse=True)
    browser.value(
        "(() => { const f = document.querySelector('[data-filter=runs]'); f.value = 'mt10-rand failed';"
        " f.dispatchEvent(new Event('input')); })()"
    )
    assert browser.value(column) == ["3"]


def test_what_was_never_reached_sorts_after_every_number(browser: Browser) -> None:
    browser.value("document.getElementById('table-efficiency').open = true")
    rows = "[...document.querySelectorAll('table[data-table=efficiency] tbody tr')]"
    heads = "[...document.querySelectorAll('table[data-table=efficiency] th button')]"
    place = browser.value(
        f"[...{rows}[0].cells].findIndex((_, i) => {rows}.some((row) => row.cells[i].textContent.startsWith('>')))"
    )
    browser.value(f"{heads}[{place}].focus()")
    browser.press("Enter")
    ascending = [
        text.startswith(">") for text in browser.value(f"{rows}.map((row) => row.cells[{place}].textContent)")
    ]
    assert ascending == sorted(ascending)
    assert len(set(ascending)) == 2


def test_a_number_opens_the_list_of_its_run_files(browser: Browser) -> None:
    browser.value("document.querySelector('.levels a[href=\"../runs/mt10-rand/d2r/\"]').focus()")
    browser.press("Enter")
    assert browser.value("document.getElementById('files').open")
    links = browser.value("[...document.querySelectorAll('#files-list a')].map((a) => a.href)")
    assert len(links) == 15
    assert all(Path(urlparse(link).path).is_file() for link in links)
    browser.value("document.getElementById('files').close()")


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_everything_without_scrolling_sideways(browser: Browser, dark: bool) -> None:
    browser.resize(390, 800, dark=dark)
    settle(browser)
    assert browser.value("document.documentElement.scrollWidth") <= 390
    background = browser.value("getComputedStyle(document.body).backgroundColor")
    light = sum(int(part) for part in re.findall(r"\d+", background)[:3]) / 3
    assert (light < 128) == dark
    browser.resize(1440, 900)
    assert browser.errors == []


def test_the_button_turns_light_into_dark(browser: Browser) -> None:
    color = "getComputedStyle(document.body).backgroundColor"
    before = browser.value(color)
    browser.value("document.getElementById('theme').click()")
    assert browser.value(color) != before
    browser.value("document.getElementById('theme').click()")
    assert browser.value(color) == before


RELEASED = project_root() / "results/released/lite/report/index.html"


def test_no_table_of_a_released_page_is_cut_off(browser: Browser) -> None:
    browser.open(RELEASED)
    browser.value("document.querySelectorAll('details').forEach((drawer) => { drawer.open = true; })")
    settle(browser)
    cut = browser.value(
        "[...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth)"
        ".map((box) => box.getAttribute('aria-label'))"
    )
    assert cut == []
    assert browser.errors == []
