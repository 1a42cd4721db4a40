"""Columns of tables: each, declared once, gives the cell, the key to sort by, the link and the fields of the CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import pandas as pd

from d2r.report.tables.table import Cell, Table
from d2r.statistics import Estimate

R = TypeVar("R")


@dataclass(frozen=True)
class Column(Generic[R]):
    """A column of a table whose rows are made from values of one kind.

    Attributes:
        title: heading; empty for fields that the CSV has beside what is shown.
        fields: columns of the CSV.
        values: of a row in them.
        cell: what a row shows.
    """

    title: str
    fields: tuple[str, ...]
    values: Callable[[R], Sequence[object]]
    cell: Callable[[R], Cell] = lambda _row: Cell("")


def only_in_csv(field: str, value: Callable[[R], object]) -> Column[R]:
    """A field that the CSV has beside what is shown."""
    return Column("", (field,), lambda row: (value(row),))


def word(
    title: str, field: str, value: Callable[[R], str], said: Callable[[R], str] | None = None
) -> Column[R]:
    """A name or another text.

    Args:
        title: heading.
        field: of the CSV.
        value: there.
        said: what is shown instead of it.
    """
    return Column(title, (field,), lambda row: (value(row),), lambda row: Cell((said or value)(row)))


def amount(
    title: str,
    field: str,
    value: Callable[[R], float | None],
    show: Callable[[float | None], str],
    runs: Callable[[R], str] | None = None,
) -> Column[R]:
    """A number without an interval.

    Args:
        title: heading.
        field: of the CSV.
        value: of a row, if known.
        show: how it is written.
        runs: folder that it comes from.
    """

    def cell(row: R) -> Cell:
        found = value(row)
        return Cell(show(found), sort=found, runs=runs(row) if runs else "")

    return Column(title, (field,), lambda row: (value(row),), cell)


def estimate(
    title: str,
    field: str,
    value: Callable[[R], Estimate],
    show: Callable[[Estimate], str],
    runs: Callable[[R], str] | None = None,
    bold: Callable[[R], bool] | None = None,
) -> Column[R]:
    """A number with its interval; the CSV has ``field``, ``field_low``, ``field_high`` and ``field_note``.

    Args:
        title: heading.
        field: of the CSV.
        value: of a row.
        show: how it is written.
        runs: folder that it comes from.
        bold: whether it is set in bold.
    """

    def cell(row: R) -> Cell:
        found = value(row)
        link = runs(row) if runs and found.n else ""
        return Cell(show(found), bold=bool(bold and bold(row)), sort=found.value, runs=link)

    def values(row: R) -> Sequence[object]:
        found = value(row)
        return found.value, found.low, found.high, found.note

    return Column(title, (field, *(f"{field}_{end}" for end in ("low", "high", "note"))), values, cell)


def tabulate(
    name: str,
    title: str,
    columns: Sequence[Column[R]],
    rows: Sequence[R],
    notes: Sequence[str] = (),
    scope: str = "",
    shown: Callable[[R], bool] = lambda _row: True,
) -> Table:
    """A table of these rows.

    Args:
        name: of its files.
        title: above it.
        columns: from left to right, also in the CSV.
        rows: what each row is made from.
        notes: below it.
        scope: scale and protocol.
        shown: which rows are shown; the CSV has all.
    """
    visible = [column for column in columns if column.title]
    return Table(
        name,
        title,
        [column.title for column in visible],
        [[column.cell(row) for column in visible] for row in rows if shown(row)],
        frame(columns, rows),
        notes,
        scope,
    )


def frame(columns: Sequence[Column[R]], rows: Sequence[R]) -> pd.DataFrame:
    """The CSV's data: one row for each of these."""
    fields = [field for column in columns for field in column.fields]
    data = [[value for column in columns for value in column.values(row)] for row in rows]
    return pd.DataFrame(data, columns=fields)
