"""The floors that ``docs/architecture.md`` draws are those that there are: no import runs up, and none in a circle."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / "d2r").rglob("*.py")
}
MODULES = {name.removesuffix(".__init__"): path for name, path in FILES.items() if name != "d2r.__init__"}


def imports(module: str) -> set[str]:
    """Modules of the package that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            named = {f"{node.module}.{name.name}" for name in node.names}
            found |= {name if name in MODULES else str(node.module) for name in named}
    return found & MODULES.keys()


def floors() -> dict[str, int]:
    """Number of the floor of each room, from the ground up, as drawn."""
    drawn = (
        (ROOT / "docs/architecture.md")
        .read_text(encoding="utf-8")
        .split("## The package")[1]
        .split("\n## ")[0]
    )
    rows = re.findall(r"^\| (`.*?) \|", drawn, re.MULTILINE)
    return {
        room: len(rows) - row for row, rooms in enumerate(rows) for room in re.findall("`([a-z]+)`", rooms)
    }


def room_of(module: str) -> str:
    return module.split(".")[1]


def test_every_room_is_drawn() -> None:
    assert floors().keys() == {room_of(module) for module in MODULES}


def test_no_import_runs_up_or_across() -> None:
    floor = floors()
    wrong = [
        f"{module} imports {other}"
        for module in MODULES
        for other in imports(module)
        if room_of(module) != room_of(other) and floor[room_of(other)] >= floor[room_of(module)]
    ]
    assert not wrong, wrong


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter({module: imports(module) for module in MODULES}).prepare()
