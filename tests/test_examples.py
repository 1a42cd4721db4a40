"""Every example of the documentation: docstrings, docs/python.md and the notebook."""

from __future__ import annotations

import ctypes.util
import doctest
import importlib
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from PIL import Image

import d2r
from d2r.play.stage import LIBRARIES
from tests.support.released import pull_released
from tests.support.tiny import PROJECT

WITH_EXAMPLES = [
    ".".join(path.relative_to(PROJECT).with_suffix("").parts)
    for path in sorted(PROJECT.glob("d2r/**/*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the released policies."""
    return pull_released(tmp_path_factory.mktemp("released"))


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_docstrings(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed


def test_the_page_on_python(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    failed, tried = doctest.testfile(str(project / "docs/python.md"), module_relative=False)
    assert tried > 10
    assert not failed


@pytest.mark.skipif(
    all(ctypes.util.find_library(name) is None for name in LIBRARIES.values()),
    reason="neither OSMesa nor EGL is installed",
)
def test_the_notebook(project: Path) -> None:
    """Its cells in order, in a process of their own; what they write is there."""
    notebook = nbformat.read(project / "docs/tour.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    script = project / "docs/tour.py"
    script.write_text("\n".join([*cells, "print('made:', made)"]))
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=script.parent,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *_, last = done.stdout.splitlines()
    made = Path(last.removeprefix("made: "))
    with Image.open(made / "curve.png") as curve, Image.open(made / "reach.gif") as film:
        assert curve.width > 100
        assert film.n_frames > 3
    assert list((made / "routes").iterdir())
    assert "drawer-close-v3" in done.stdout


def test_nothing_heavy_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, d2r; print(sorted({'torch', 'pandas', 'numpy', 'gymnasium', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    with pytest.raises(AttributeError, match="no attribute 'load_polciy'"):
        d2r.load_polciy  # noqa: B018
