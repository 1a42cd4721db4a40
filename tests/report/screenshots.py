"""Take pictures of a report page, to look at them: python -m tests.report.screenshots PAGE FOLDER."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from .chromium import Browser, find_chromium

VIEWS = (
    ("result", 1440, 900, False),
    ("result", 1440, 900, True),
    ("claims", 1440, 900, False),
    ("curves", 1440, 900, False),
    ("tasks", 1440, 900, True),
    ("routes", 1440, 1000, False),
    ("result", 390, 844, False),
    ("figure-forest", 390, 844, True),
    ("curves", 390, 844, False),
    ("tables", 390, 844, True),
)


def take(page: Path, folder: Path) -> list[Path]:
    """One picture per view: a section at a window size, light or dark."""
    executable = find_chromium()
    if executable is None:
        sys.exit("no Chromium on this machine")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(executable, Path(profile))
        try:
            browser.open(page)
            for section, width, height, dark in VIEWS:
                browser.resize(width, height, dark)
                time.sleep(1)
                browser.value(f"document.getElementById('{section}').scrollIntoView()")
                time.sleep(1)
                paths.append(folder / f"{section}-{width}{'-dark' if dark else ''}.png")
                browser.screenshot(paths[-1])
        finally:
            browser.close()
    return paths


if __name__ == "__main__":
    for path in take(Path(sys.argv[1]), Path(sys.argv[2])):
        print(path)
