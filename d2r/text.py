"""A stranger's text, made fit to be read: one line, not longer than can be read, no command to a terminal."""

from __future__ import annotations

import re

LONGEST = 1000
"""Characters of a text that are shown."""
LONGEST_NAME = 100
NAME = rf"[A-Za-z0-9_][A-Za-z0-9_.+-]{{0,{LONGEST_NAME - 1}}}"
"""What scales, benchmarks, methods, protocols, tasks and quantities are called: part of paths, labels and columns."""


def printable(text: str, longest: int = LONGEST) -> str:
    r"""Return ``text`` with line ends, escape sequences and what no encoding has written out, the middle left out.

    Printing the result moves no cursor, begins no line, and shows every character in its place.

    Example:
        >>> printable("ok\n\x1b[31m \ud800")
        'ok\\n\\x1b[31m \\ud800'
        >>> printable("abcdefgh", 5)
        'ab[4 characters]gh'
    """
    if len(text) > longest:
        half = longest // 2
        text = f"{text[:half]}[{len(text) - 2 * half} characters]{text[-half:]}"
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def by_number(text: str) -> list[tuple[bool, int, str]]:
    """A key to sort texts by in which numbers come in the order of their size.

    Example:
        >>> sorted(["mt50-rand", "mt10-rand", "mt3-doors"], key=by_number)
        ['mt3-doors', 'mt10-rand', 'mt50-rand']
    """
    words = re.findall(r"[0-9]+|[^0-9]+", text)
    return [(not word.isdecimal(), int(word) if word.isdecimal() else 0, word) for word in words]
