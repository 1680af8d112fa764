"""The README and the pages of docs/, as the tests read them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md"))]


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", text_of(page), re.DOTALL)


def section(page: Path, heading: str) -> str:
    """The text below a heading, up to the next one."""
    return text_of(page).split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]


def table_rows(text: str) -> list[list[str]]:
    """The cells of all tables in a text, without their heads."""
    lines = re.findall(r"^\|(.*)\|$", text, re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    rulers = [number for number, row in enumerate(rows) if set("".join(row)) <= {"-"} and row[0]]
    heads = {number for ruler in rulers for number in (ruler - 1, ruler)}
    return [row for number, row in enumerate(rows) if number not in heads]


def names_in(cell: str) -> list[str]:
    """What a cell has in code style."""
    return re.findall(r"`([^`]+)`", cell)
