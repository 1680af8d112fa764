"""What a run did, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from protime_source.catalogue import COLLECTIONS
from protime_source.errors import ApiError, NotFoundError
from protime_source.sync.bookmark import Bookmark

_COLUMNS = {
    "received": "received",
    "merged": "merged",
    "soft_deleted": "soft-deleted",
    "stale": "stale",
}
"""The counts that are shown, and their titles."""


@dataclass(frozen=True)
class TableSummary:
    """What a run did to one table.

    Attributes:
        counts: The counts of all its load packages, added up.
        live_rows: Rows that are live now.
        bookmark: Where the next run continues; `None` without a delta.
    """

    counts: Counter[str]
    live_rows: int
    bookmark: Bookmark | None


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        tables: What it did to each table that was loaded.
        refusals: Why Protime refused the other tables, which were left as they are.
        seconds: How long it took.
        pending: Load packages of an earlier run that were loaded first.
        place: The destination, in words.
    """

    tables: Mapping[str, TableSummary]
    refusals: Mapping[str, ApiError]
    seconds: float
    pending: int
    place: str

    def __str__(self) -> str:
        """Returns a table to read at a glance."""
        titles = (*_COLUMNS.values(), "live rows")
        width = max(map(len, self.tables), default=0)
        lines = ["  ".join([" " * width, *(f"{title:>9}" for title in titles)])]
        for name, table in self.tables.items():
            values = [*(table.counts[count] for count in _COLUMNS), table.live_rows]
            pairs = zip(values, titles, strict=True)
            cells = [f"{value:>{max(len(title), 9)},}" for value, title in pairs]
            lines.append("  ".join([f"{name:<{width}}", *cells]))
        return "\n".join([*lines, self._footer()])

    @property
    def refusal(self) -> str:
        """What to do about the tables that were not loaded; empty when there are none."""
        missing = [t for t, error in self.refusals.items() if isinstance(error, NotFoundError)]
        unreadable = [table for table in self.refusals if table not in missing]
        sentences = []
        if unreadable:
            scopes = {" or ".join(COLLECTIONS[table].read_scopes) for table in unreadable}
            sentences.append(
                f"Protime does not let this client read {', '.join(unreadable)}: not loaded, and"
                " left as they were; all else was loaded. Ask Protime for the scope"
                f" {' and '.join(sorted(scopes))}, or leave them out of the setting collections."
            )
        if missing:
            setting = "activity_structures" if "activity_definitions" in missing else "api_url"
            sentences.append(
                f"Protime answers 404 to {', '.join(missing)}: not loaded, and left as they were;"
                f" all else was loaded. Check the setting {setting}, or leave them out of the"
                " setting collections."
            )
        return " ".join(sentences)

    def _footer(self) -> str:
        requests = sum(table.counts["requests"] for table in self.tables.values())
        noun = "request" if requests == 1 else "requests"
        first = " What an earlier run had left was loaded first." if self.pending else ""
        return (
            f"{requests:,} {noun} in {self.seconds:.1f} s.{first}\nLoaded into {self.place}."
            f"{self._refused_records()}{self._expiry()}"
        )

    def _refused_records(self) -> str:
        refused = sum(table.counts["refused_records"] for table in self.tables.values())
        return f" {refused:,} records were left out: see the warnings." if refused else ""

    def _expiry(self) -> str:
        """When the first delta expires."""
        expiries = [table.bookmark.expires for table in self.tables.values() if table.bookmark]
        if not expiries:
            return ""
        until = f"{min(expiries):%Y-%m-%d %H:%M} UTC"
        return f" The delta expires {until}, unless a run uses it before."
