"""A table as data and as it is read, written as CSV, Markdown and LaTeX with the same bytes every time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from d2r.errors import UserError
from d2r.files import write_bytes

LATEX_COLUMNS = 6
"""Columns (without the first) that fit a page; a wider table is cut into blocks below each other."""
LATEX_ROWS = 40
"""Longest table that fits a page; longer ones break across pages."""


@dataclass(frozen=True)
class Cell:
    """What one cell shows."""

    text: str
    bold: bool = False
    sort: float | None = None
    """Number to sort by; none: sort by the text."""
    runs: str = ""
    """Folder below ``runs/`` that the number comes from, such as ``mt10-rand/d2r``."""


@dataclass(frozen=True)
class Table:
    """One table: ``data`` is tidy and complete (CSV); ``header`` and ``rows`` are laid out to be read."""

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    data: pd.DataFrame
    notes: Sequence[str] = field(default=())
    scope: str = ""
    """Scale and protocol of the results; empty for a table that does not depend on them."""

    @property
    def full_title(self) -> str:
        """Title with the scope in parentheses: what stands above the table wherever it is copied to."""
        return f"{self.title} ({self.scope})" if self.scope else self.title

    def write(self, folder: Path) -> list[Path]:
        """Write ``<name>.csv``, ``.md`` and ``.tex`` into ``folder``; return their paths.

        Raises:
            UserError: if the folder cannot be written.
        """
        texts = {".csv": self.csv(), ".md": self.markdown(), ".tex": self.latex()}
        paths = [folder / f"{self.name}{suffix}" for suffix in texts]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path, text in zip(paths, texts.values(), strict=True):
                write_bytes(path, text.encode())
        except OSError as error:
            raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
        return paths

    def csv(self) -> str:
        """The tidy data."""
        return csv_text(self.data)

    def markdown(self) -> str:
        """A Markdown table under its title, notes below."""

        def line(texts: Sequence[str]) -> str:
            return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"

        body = [line([f"**{cell.text}**" if cell.bold else cell.text for cell in row]) for row in self.rows]
        parts = [f"**{self.full_title}**", "", line(self.header), line(["---"] * len(self.header)), *body]
        if self.notes:
            parts += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(parts) + "\n"

    def latex(self) -> str:
        """A table with booktabs rules; needs the packages booktabs and longtable."""
        width = len(self.header)
        blocks = [range(start, min(start + LATEX_COLUMNS, width)) for start in range(1, width, LATEX_COLUMNS)]
        parts = [f"% {self.name}: needs \\usepackage{{booktabs,longtable}}"]
        for number, block in enumerate(blocks or [range(1, 1)]):
            columns = [0, *block]
            more = f" (part {number + 1} of {len(blocks)})" if len(blocks) > 1 else ""
            label = f"tab:{self.name}" + (f"-{number + 1}" if len(blocks) > 1 else "")
            caption = f"\\caption{{{latex_text(self.full_title + more)}}}\\label{{{label}}}"
            header = " & ".join(latex_text(self.header[column]) for column in columns) + " \\\\"
            body = [
                " & ".join(self._latex_cell(row[column]) for column in columns) + " \\\\" for row in self.rows
            ]
            parts += _latex_block(caption, "l" * len(columns), header, body)
        parts += [f"% {latex_text(note)}" for note in self.notes]
        return "\n".join(parts) + "\n"

    @staticmethod
    def _latex_cell(cell: Cell) -> str:
        text = latex_text(cell.text)
        return f"\\textbf{{{text}}}" if cell.bold else text


def csv_text(data: pd.DataFrame) -> str:
    """Data with 12 significant digits; an unknown value is an empty field."""
    return str(data.to_csv(index=False, float_format="%.12g", lineterminator="\n"))


def _latex_block(caption: str, alignment: str, header: str, body: Sequence[str]) -> list[str]:
    if len(body) > LATEX_ROWS:
        head = [
            f"\\begin{{longtable}}{{{alignment}}}",
            caption + " \\\\",
            "\\toprule",
            header,
            "\\midrule",
            "\\endfirsthead",
        ]
        again = ["\\toprule", header, "\\midrule", "\\endhead", "\\bottomrule", "\\endfoot"]
        return ["{\\small", *head, *again, *body, "\\end{longtable}}"]
    head = [
        "\\begin{table}",
        "\\centering\\small",
        caption,
        f"\\begin{{tabular}}{{{alignment}}}",
        "\\toprule",
    ]
    return [*head, header, "\\midrule", *body, "\\bottomrule", "\\end{tabular}", "\\end{table}"]


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "×": r"$\times$",
    "≥": r"$\geq$", "≤": r"$\leq$", "±": r"$\pm$", "−": r"$-$", "α": r"$\alpha$", "ρ": r"$\rho$", "τ": r"$\tau$",
    "–": "--",
}  # fmt: skip


def latex_text(text: str) -> str:
    """Escape plain text for LaTeX; a leading bracket is guarded, or the line break before would take it."""
    escaped = re.sub("|".join(map(re.escape, _LATEX)), lambda match: _LATEX[match.group()], text)
    return "{[}" + escaped[1:] if escaped.startswith("[") else escaped
