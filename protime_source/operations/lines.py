"""Text for a terminal or a log of 100 columns."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

COLUMNS = 100


def wrap(text: str, indent: str = "  ") -> list[str]:
    """Returns the lines of a text, none longer than 100 columns.

    Args:
        text: The text.
        indent: What the lines after the first begin with.
    """
    return textwrap.wrap(text, COLUMNS, subsequent_indent=indent, break_on_hyphens=False)


def minute(moment: datetime | None) -> str:
    """Returns a moment (UTC) to the minute; `never` when there is none."""
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "never"


@dataclass(frozen=True)
class CheckLine:
    """One thing that was checked.

    Attributes:
        name: What: a setting, a collection, the destination.
        outcome: `ok`, `warning`, or `problem`, which would fail a run.
        text: What was found, and what to do.
        exit_code: Of a problem: the exit code that a run would have.
    """

    name: str
    outcome: Literal["ok", "warning", "problem"]
    text: str
    exit_code: int = 0
