"""What the reports have in common."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


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
