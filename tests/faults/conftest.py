"""Counts what was survived, and says it in one line at the end."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.tiny import make_project

COUNTS: Counter[str] = Counter()
KINDS = ("kills survived", "stops obeyed", "corruptions detected", "inputs fuzzed")


@pytest.fixture
def counts() -> Counter[str]:
    """What the closing line counts."""
    return COUNTS


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project that the whole session shares."""
    return make_project(tmp_path_factory.mktemp("project"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Print the closing line."""
    if COUNTS:
        lost = "nothing lost" if exitstatus == 0 else "SEE FAILURES"
        said = ", ".join(f"{kind} {COUNTS[kind]:,}" for kind in KINDS if COUNTS[kind])
        terminalreporter.write_line(f"faults: {said}; {lost}")
