"""Text for a terminal or a log of 100 columns."""

from __future__ import annotations

import textwrap
from datetime import datetime

COLUMNS = 100


def wrap(text: str, indent: str = "  ") -> list[str]:
    """Returns the lines of a text, none longer than 100 columns.

    Args:
        text: The text.
        indent: What the lines after the first begin with.
    """
    return textwrap.wrap(text, COLUMNS, subsequent_indent=indent)


def minute(moment: datetime | None) -> str:
    """Returns a moment (UTC) to the minute; `never` when there is none."""
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "never"
