"""Text for a terminal or a log: lines and tables that fit."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

LOG_COLUMNS, FEWEST_COLUMNS = 100, 60


def wrap(text: str, indent: str = "  ") -> list[str]:
    """Returns the lines of a text, which fit into 100 columns or a narrower terminal.

    A path or URL that does not fit stays in one piece, so that it can be copied.

    Args:
        text: The text.
        indent: What the lines after the first begin with.
    """
    columns = shutil.get_terminal_size((LOG_COLUMNS, 0)).columns
    width = max(min(columns, LOG_COLUMNS), FEWEST_COLUMNS)
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


def text_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table: the first column to the left, the others to the right.

    The columns are as narrow as they can be: all counts of all collections fit into 100 columns.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join((f"{first:<{widths[0]}}", *cells)).rstrip())
    return lines
