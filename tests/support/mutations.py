"""Hypothesis strategies for files: noise, a whole file with bytes changed, or its data with one value replaced."""

from __future__ import annotations

import copy
import json
from typing import Any

import yaml
from hypothesis import strategies as st

TOKENS = [
    b"nan", b"-inf", b"1e999", b"9" * 400, b"-1", b"0", b"\x00", b"\xff\xfe", b"../../etc/passwd", b"[" * 2000, b"{",
    b"}", b",", b":", b"\n", b'"', b"&a [*a]", b"!!python/object/apply:os.system ['true']", b"<<: *x", b"null",
    b"true", b"\xed\xa0\x80", b"1_000", b"0x10", b"2026-11-22", b"=1+1",
]  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        [
            "../x",
            "/etc/passwd",
            "mt10-rand",
            "all",
            "tiny",
            "mtsac",
            "\x00",
            "nan",
            "",
            "$x^2$",
            "\x1b[2K",
            "a" * 5000,
        ]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


def contents(whole: bytes, form: str) -> st.SearchStrategy[bytes]:
    """Contents for a file that would be ``whole``; ``form`` is json, yaml, csv or binary."""
    choices = [st.binary(max_size=200), _changed_bytes(whole)]
    if form in ("json", "yaml"):
        choices += [_changed_data(whole, form)] * 3
    if form == "csv":
        choices += [_changed_cells(whole)] * 3
    return st.one_of(choices)


@st.composite
def _changed_bytes(draw: st.DrawFn, whole: bytes) -> bytes:
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        stop = min(len(content), start + draw(st.sampled_from([0, 1, 2, 8, 64, 1024])))
        kind = draw(st.sampled_from(["flip", "delete", "repeat", "token", "cut", "noise"]))
        if kind == "flip" and content:
            content[start] ^= 1 << draw(st.integers(0, 7))
        elif kind == "delete":
            del content[start:stop]
        elif kind == "repeat":
            content[start:start] = content[start:stop] * draw(st.integers(1, 3))
        elif kind == "token":
            content[start:stop] = draw(st.sampled_from(TOKENS))
        elif kind == "cut":
            del content[start:]
        else:
            content[start:stop] = draw(st.binary(max_size=stop - start))
    return bytes(content)


def _places(data: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[tuple[Any, ...]] = []
    if isinstance(data, dict):
        inner = [place for key in data for place in _places(data[key], (*above, key))]
    elif isinstance(data, list):
        inner = [place for index, value in enumerate(data) for place in _places(value, (*above, index))]
    return [above, *inner]


@st.composite
def _changed_data(draw: st.DrawFn, whole: bytes, form: str) -> bytes:
    data = json.loads(whole) if form == "json" else yaml.safe_load(whole)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(_places(data)))
        if not place:
            data = draw(VALUES) if draw(st.integers(0, 9)) == 0 else data
            continue
        data = copy.deepcopy(data)
        holder = data
        for key in place[:-1]:
            holder = holder[key]
        kind = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if kind == "replace":
            holder[place[-1]] = draw(VALUES)
        elif kind == "remove":
            del holder[place[-1]]
        elif isinstance(holder, dict):
            holder[draw(st.text(max_size=6))] = draw(VALUES)
        else:
            holder.append(draw(VALUES))
    if form == "json":
        return json.dumps(data).encode("utf-8", "surrogatepass")
    return yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass")


@st.composite
def _changed_cells(draw: st.DrawFn, whole: bytes) -> bytes:
    rows = [line.split(b",") for line in whole.splitlines()]
    for _ in range(draw(st.integers(1, 4))):
        row = draw(st.integers(0, len(rows) - 1))
        column = draw(st.integers(0, max(0, len(rows[row]) - 1)))
        kind = draw(
            st.sampled_from(["replace", "replace", "remove cell", "add cell", "remove row", "repeat row"])
        )
        cell = draw(
            st.sampled_from(TOKENS) | st.binary(max_size=6) | st.floats().map(lambda v: str(v).encode())
        )
        if kind == "remove row" and len(rows) > 1:
            del rows[row]
        elif kind == "repeat row":
            rows.insert(row, list(rows[row]))
        elif kind == "add cell":
            rows[row].append(cell)
        elif kind == "remove cell":
            del rows[row][column : column + 1]
        elif rows[row]:
            rows[row][min(column, len(rows[row]) - 1)] = cell
    return b"\n".join(b",".join(row) for row in rows) + b"\n"
