"""What a run did, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from protime_source.catalogue import COLLECTIONS
from protime_source.sync.bookmark import Bookmark

_NUMBERS = ("received", "merged", "marked", "ignored")
_TITLES = ("received", "merged", "marked deleted", "ignored as stale", "rows now live")


@dataclass(frozen=True)
class TableSummary:
    """What a run did to one table.

    Attributes:
        counts: dlt's metrics of all its packages, added up.
        live: Rows now live.
        bookmark: Where the next run goes on; `None` without a delta.
    """

    counts: Counter[str]
    live: int
    bookmark: Bookmark | None


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        tables: What it did to each table that was loaded.
        refused: Tables that the tenant does not let this client read; they were left as they are.
        absent: Tables that Protime answers 404 to; left as they are, too.
        seconds: How long it took.
        pending: Packages of an earlier run that were loaded first.
        place: The destination, in words.
    """

    tables: Mapping[str, TableSummary]
    refused: tuple[str, ...]
    absent: tuple[str, ...]
    seconds: float
    pending: int
    place: str

    def __str__(self) -> str:
        """A table to read at a glance."""
        width = max(map(len, self.tables), default=0)
        lines = ["  ".join([" " * width, *_TITLES])]
        for name, table in self.tables.items():
            values = [*(table.counts[number] for number in _NUMBERS), table.live]
            cells = [f"{v:>{len(t)},}" for v, t in zip(values, _TITLES, strict=True)]
            lines.append("  ".join([f"{name:<{width}}", *cells]))
        return "\n".join([*lines, self._footer()])

    @property
    def refusal(self) -> str:
        """What to do about the tables that were not loaded; empty when there are none."""
        return " ".join(filter(None, (self._refused(), self._absent())))

    def _refused(self) -> str:
        if not self.refused:
            return ""
        scopes = sorted({" or ".join(COLLECTIONS[table].read_scopes) for table in self.refused})
        return (
            f"Protime does not let this client read {', '.join(self.refused)}: not loaded, and left"
            f" as they were; all else was loaded. Ask Protime for the scope {' and '.join(scopes)},"
            " or leave them out of the setting collections."
        )

    def _absent(self) -> str:
        if not self.absent:
            return ""
        setting = "activity_structures" if "activity_definitions" in self.absent else "api_url"
        return (
            f"Protime answers 404 to {', '.join(self.absent)}: not loaded, and left as they were;"
            f" all else was loaded. Check the setting {setting}, or leave them out of the setting"
            " collections."
        )

    def _footer(self) -> str:
        requests = sum(table.counts["requests"] for table in self.tables.values())
        noun = "request" if requests == 1 else "requests"
        first = " What an earlier run had left was loaded first." if self.pending else ""
        return (
            f"{requests:,} {noun} in {self.seconds:.1f} s.{first}\nLoaded into {self.place}."
            f"{self._expiry()}"
        )

    def _expiry(self) -> str:
        """When the first delta dies."""
        expiries = [table.bookmark.expires for table in self.tables.values() if table.bookmark]
        if not expiries:
            return ""
        until = f"{min(expiries):%Y-%m-%d %H:%M} UTC"
        return f" The delta expires {until}, unless a run uses it before."
