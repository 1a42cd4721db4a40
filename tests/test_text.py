"""A stranger's text is shown in one line, whole or with its middle left out, and commands no terminal."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from d2r.text import LONGEST, printable

TEXT = st.text(st.characters(codec=None, categories=None))


@given(TEXT)
@example("ok\n  ok    manifest  everything\r\x1b[2K")
@example("\ud800\u202e\u2028\x85\0")
def test_anything_is_one_line_that_can_be_printed(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode().decode() == shown
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text


@given(TEXT, st.integers(2, 50))
def test_what_is_too_long_loses_its_middle_and_says_how_much(text: str, longest: int) -> None:
    shown = printable(text, longest)
    assert shown == printable(text) or f" characters]{printable(text[len(text) - longest // 2 :])}" in shown
    assert len(shown) <= 10 * longest + 40  # \U0010ffff is the longest way to write a character


def test_the_end_of_a_long_complaint_is_kept() -> None:
    assert printable("x" * 10 * LONGEST + ": File name too long").endswith(": File name too long")
