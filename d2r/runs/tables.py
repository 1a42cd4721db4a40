"""A run's tables as data frames."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd

from d2r.files import read_unpacked
from d2r.limits import refuse_shortage
from d2r.runs.layout import PACKED_SUFFIX
from d2r.runs.record import Damaged
from d2r.runs.tidy import COLUMNS, LARGEST
from d2r.text import NAME

RANGES = {"step": (0, 1e12), "episode": (0, 1e6), "success": (0, 1), "weight": (0, 1.001)}
"""What else numbers of these lie between. Larger steps than a run may have leave figures no room for their ticks."""


def read_table(path: Path) -> pd.DataFrame:
    """Read one of a run's tables, packed or not.

    Raises:
        Damaged: if it cannot be read, has other columns, or holds what is no name or number of ours.
    """
    columns = COLUMNS[path.name.removesuffix(PACKED_SUFFIX)]
    try:
        content = read_unpacked(path)
    except OSError as error:
        refuse_shortage(error)
        raise Damaged(path, f"cannot be read ({error.strerror})") from None
    if b"\0" in content:  # what is behind it in a cell is lost to pandas
        raise Damaged(path, "is not a table (it holds a NUL)")
    text = {name: "string" for name, kind in columns.items() if kind is str}
    try:
        table = pd.read_csv(
            io.BytesIO(content), dtype=text, keep_default_na=False, float_precision="round_trip"
        )
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        refuse_shortage(error)
        raise Damaged(path, f"is not a table ({error})") from None
    if list(table.columns) != list(columns):
        raise Damaged(path, f"has the columns {','.join(map(str, table.columns))}, not {','.join(columns)}")
    for name, kind in columns.items():
        wrong = _wrong_name(table[name]) if kind is str else _wrong_number(table[name], whole=kind is int)
        if wrong is not None:
            raise Damaged(path, f"is not a table of ours (column '{name}' holds {wrong})")
    return pd.DataFrame(table)


def strange_name(column: pd.Series) -> str | None:
    """The first value of a column that is no name and not empty, none if all are."""
    values = (str(value) for value in column.unique())
    return next((value for value in values if value and not re.fullmatch(NAME, value)), None)


def _wrong_name(column: pd.Series) -> str | None:
    strange = strange_name(column)
    return None if strange is None else f"'{strange}', which is no name"


def _wrong_number(column: pd.Series, whole: bool) -> str | None:
    of_the_kind = pd.api.types.is_integer_dtype if whole else pd.api.types.is_numeric_dtype
    if len(column) and not (of_the_kind(column) and np.isfinite(column).all()):
        return "something that is no number"
    low, high = RANGES.get(str(column.name), (-LARGEST, LARGEST))
    outside = column[~column.between(low, high)]
    return f"{outside.iloc[0]}, which is not from {low:g} to {high:g}" if len(outside) else None
