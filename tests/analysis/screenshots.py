"""Take the pictures of a report page that docs/screenshots/ keeps: python -m tests.analysis.screenshots PAGE FOLDER."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from .chromium import Browser, find_chromium

VIEWS = (
    ("claims", 1100, 760, False),
    ("curves", 1100, 760, False),
    ("routes", 1100, 560, True),
    ("tables", 390, 760, True),
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
                paths.append(folder / f"page-{section}{'-dark' if dark else ''}.png")
                browser.screenshot(paths[-1])
        finally:
            browser.close()
    return paths


if __name__ == "__main__":
    for path in take(Path(sys.argv[1]), Path(sys.argv[2])):
        print(path)
