"""What the repository's documentation takes from the code; ``make docs`` runs this module, which writes it."""

from __future__ import annotations

import json
from pathlib import Path

from d2r.cli.methods import describe_methods, markdown_table
from d2r.config import project_root
from d2r.config.file_schemas import file_schemas
from d2r.errors import UserError
from d2r.findings.results import load_results
from d2r.report.claims_text import claims_markdown, evidence_markdown
from d2r.report.readme import readme_markdown, success_markdown

RELEASED = "results/released/lite"
"""Results that the README, ``docs/results.md`` and the list of claims speak of."""
BEGIN, END = "<!-- make docs: begin -->", "<!-- make docs: end -->"


def documents(root: Path) -> dict[Path, str]:
    """What each file with generated parts is to hold.

    Raises:
        UserError: if a page lacks its marks.
    """
    methods, readme, found = root / "docs" / "methods.md", root / "README.md", root / "docs" / "results.md"
    released = load_results(root / RELEASED)
    return {
        methods: _between_marks(methods, markdown_table(describe_methods())),
        readme: _between_marks(readme, readme_markdown(released, RELEASED)),
        found: _between_marks(found, success_markdown(released)),
        root / "docs" / "claims.md": claims_markdown(released),
        root / "docs" / "appendix" / "evidence.md": evidence_markdown(released),
        **schema_files(root),
    }


def schema_files(root: Path) -> dict[Path, str]:
    """The JSON schemas of what lies in ``config/``, which its files name for editors in their first lines."""
    folder = root / "config" / "schema"
    return {
        folder / f"{of}.json": json.dumps(schema, indent=2) + "\n" for of, schema in file_schemas().items()
    }


def _between_marks(path: Path, text: str) -> str:
    try:
        before, rest = path.read_text(encoding="utf-8").split(BEGIN)
        _, after = rest.split(END)
    except ValueError:
        raise UserError(f"{path}: needs the lines {BEGIN} and {END}, once each") from None
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


if __name__ == "__main__":
    for path, text in documents(project_root()).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
