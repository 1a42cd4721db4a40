"""What people read is short, and what it names is there: links, tests and commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from d2r.cli.main import parse
from d2r.config import project_root
from d2r.errors import UserError

ROOT = project_root()
FIRST = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
CHANGES = ROOT / "CHANGELOG.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
APPENDIX = sorted((ROOT / "docs" / "appendix").glob("*.md"))
RESULTS = sorted((ROOT / "results").glob("*/README.md"))
REGISTERED = ROOT / "docs" / "registered.md"
"""Stands as it was registered, word for word."""
BOUND = [page for page in (*FIRST, *PAGES) if page != REGISTERED]

WORDS_OF_ALL_PAGES = 11_000
WORDS_OF_README = 700
WORDS_OF_A_PARAGRAPH = 90
NUMBERS_OF_A_SENTENCE = 5

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
NUMBER = re.compile(r"(?<![\w.,#-])[+±−-]?\d[\d.,]*")
SENTENCE_END = re.compile(r"(?<=[.!?])[*_)”]*\s+")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[str]:
    """Code blocks of a page, without their fences and indentation."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL)
    return fenced + re.findall(r"(?:(?<=\n\n)|\A)((?: {4}\S.*\n+)+)", without_fences(page))


def without_fences(page: Path) -> str:
    return re.sub(r"^```.*?^```\n", "", text(page), flags=re.MULTILINE | re.DOTALL)


def paragraphs(page: Path) -> list[str]:
    """Running text of a page: paragraphs and items of lists, each in a line; no tables, code, headings or comments."""
    found = [""]
    for line in without_fences(page).splitlines():
        if not line.strip() or line.startswith(("|", "#", "<!--", "    ")):
            found.append("")
            continue
        if re.match(r"\s*([-*]|\d+\.) ", line):
            found.append("")
        found[-1] += " " + line.strip()
    return [paragraph.strip() for paragraph in found if paragraph.strip()]


def read_out(paragraph: str) -> str:
    """A paragraph as it is read: the words of links without their targets, and no code."""
    return CODE.sub("code", LINK.sub("]", paragraph))


def anchors(page: Path) -> set[str]:
    """Anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", without_fences(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path) -> list[tuple[str, bool]]:
    """``d2r`` commands that a page shows, and whether each is a whole one rather than a mention in a sentence."""
    shown = [(line, True) for block in blocks(page) for line in re.split(r"\n|; do ", block)]
    shown += [(code, False) for code in CODE.findall(without_fences(page))]
    found = []
    for line, whole in shown:
        command = re.match(r"\s*(d2r [a-z][^;|&#]*)", line)
        if command:
            found.append((command[1].removesuffix("...").strip(), whole))
    return found


def test_pages_are_few_words_together() -> None:
    words = {page.name: len(text(page).split()) for page in PAGES}
    assert sum(words.values()) <= WORDS_OF_ALL_PAGES, words


def test_the_readme_is_a_screen_and_a_half_with_one_figure() -> None:
    readme = text(FIRST[0])
    assert len(readme.split()) <= WORDS_OF_README
    assert readme.count("![") == 1


def test_the_readme_shows_films_that_are_there_and_small() -> None:
    films = [ROOT / source for source in re.findall(r'<img src="([^"]+[.]gif)"', text(FIRST[0]))]
    assert len(films) == 4
    sizes = [film.stat().st_size for film in films]
    assert max(sizes) <= 2e6
    assert sum(sizes) <= 6e6


@pytest.mark.parametrize("page", BOUND, ids=name)
def test_no_paragraph_is_long(page: Path) -> None:
    lengths = {paragraph[:60]: len(read_out(paragraph).split()) for paragraph in paragraphs(page)}
    assert not {start: words for start, words in lengths.items() if words > WORDS_OF_A_PARAGRAPH}


@pytest.mark.parametrize("page", BOUND, ids=name)
def test_no_sentence_is_a_table(page: Path) -> None:
    sentences = [s for paragraph in paragraphs(page) for s in SENTENCE_END.split(read_out(paragraph))]
    assert not [s for s in sentences if len(NUMBER.findall(s)) > NUMBERS_OF_A_SENTENCE]


@pytest.mark.parametrize("page", [*FIRST, CHANGES, *PAGES, *APPENDIX, *RESULTS], ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in LINK.findall(without_fences(page)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


@pytest.mark.parametrize("page", [*FIRST, CHANGES, *PAGES, *APPENDIX, *RESULTS], ids=name)
def test_pages_that_are_named_are_there(page: Path) -> None:
    named = re.findall(r"`(docs/[\w/.-]+\.\w+)`", text(page))
    assert not [path for path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", [*FIRST, CHANGES, *PAGES, *APPENDIX, *RESULTS], ids=name)
def test_commands_are_understood(page: Path) -> None:
    wrong = []
    for command, whole in commands(page):
        words = ["1" if word == "$s" else word for word in shlex.split(command)]
        try:
            parse(words[1:])
        except UserError as error:
            if whole or "are required" not in str(error):
                wrong.append(f"{command}: {error}")
    assert not wrong


def test_commands_are_found() -> None:
    assert len(commands(ROOT / "docs" / "reproduce.md")) > 10


def test_tests_that_are_named_are_there() -> None:
    files = {path.name: text(path) for path in (ROOT / "tests").rglob("test_*.py")}
    named = re.findall(r"`(?:tests/[\w/]*)?(test_\w+\.py)(?:::(\w+))?", "\n".join(map(text, PAGES)))
    assert named
    assert not [(file, test) for file, test in named if f"def {test}" not in files.get(file, "") and test]
    assert not [file for file, _ in named if file not in files]
