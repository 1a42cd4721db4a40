"""A run's tables as data frames."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd

from d2r.files import read_bytes
from d2r.runs.record import Damaged
from d2r.runs.tidy import COLUMNS
from d2r.text import NAME


def read_table(path: Path) -> pd.DataFrame:
    """Read one of a run's tables.

    Raises:
        UserError: if it cannot be read, has other columns, text in place of numbers, or names as nothing is named.
    """
    columns = COLUMNS[path.name]
    try:
        content = read_bytes(path)
    except OSError as error:
        raise Damaged(path, f"cannot be read ({error.strerror})") from None
    if b"\0" in content:  # what is behind it in a cell is lost to pandas
        raise Damaged(path, "is not a table (it holds a NUL)")
    text = {name: "string" for name, kind in columns.items() if kind is str}
    try:
        table = pd.read_csv(
            io.BytesIO(content), dtype=text, keep_default_na=False, float_precision="round_trip"
        )
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise Damaged(path, f"is not a table ({error})") from None
    if list(table.columns) != list(columns):
        raise Damaged(path, f"has the columns {','.join(map(str, table.columns))}, not {','.join(columns)}")
    for name, kind in columns.items():
        if kind is str:
            strange = strange_name(table[name])
            if strange is not None:
                raise Damaged(path, f"is not a table of ours ('{strange}' is no name of a {name})")
        elif len(table) and not _are_numbers(table[name], whole=kind is int):
            raise Damaged(path, f"is not a table of ours (column '{name}' holds something that is no number)")
    return pd.DataFrame(table)


def strange_name(column: pd.Series) -> str | None:
    """The first value of a column that is no name and not empty, none if all are."""
    values = (str(value) for value in column.unique())
    return next((value for value in values if value and not re.fullmatch(NAME, value)), None)


def _are_numbers(column: pd.Series, whole: bool) -> bool:
    of_the_kind = pd.api.types.is_integer_dtype if whole else pd.api.types.is_numeric_dtype
    return bool(of_the_kind(column) and np.isfinite(column).all())
