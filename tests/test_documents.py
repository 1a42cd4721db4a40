"""What documentation takes from the code is in it."""

from __future__ import annotations

from d2r.cli.documents import documents
from d2r.config import project_root


def test_generated_documentation_is_what_the_code_says() -> None:
    outdated = [
        path.relative_to(project_root()).as_posix()
        for path, text in documents(project_root()).items()
        if path.read_text(encoding="utf-8") != text
    ]
    assert not outdated, f"run `make docs` and commit what it writes: {', '.join(outdated)}"
