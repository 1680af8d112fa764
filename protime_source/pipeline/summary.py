"""What a run did, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protime_source.catalogue import COLLECTIONS
from protime_source.catalogue.model import Collection
from protime_source.errors import ApiError, NotFoundError, VanishedRowsError
from protime_source.pipeline.text import text_table, wrap
from protime_source.sync.bookmark import Bookmark

_COLUMNS = {
    "received": "received",
    "inserted": "inserted",
    "updated": "updated",
    "soft_deleted": "deleted",
    "unchanged": "unchanged",
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

    def as_json(self) -> dict[str, Any]:
        """Returns it for `json.dumps`, with keys that stay as they are."""
        expires = self.bookmark.expires if self.bookmark else None
        return {
            **{name: self.counts[name] for name in ("requests", *_COLUMNS)},
            "live_rows": self.live_rows,
            "delta_expires_at": expires.isoformat(timespec="seconds") if expires else None,
        }


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        tables: What it did to each table that was loaded.
        refusals: Why Protime refused the other tables, which were left as they are.
        guarded: Why the guard stopped other tables.
        seconds: How long it took.
        pending: Load packages of an earlier run that were loaded first.
        place: The destination, in words.
        published_to: The copy for readers that was made; empty when none was.
        unpublished: Why there is no new copy although one is wanted; empty when nothing is wrong.
    """

    tables: Mapping[str, TableSummary]
    refusals: Mapping[str, ApiError]
    guarded: Mapping[str, VanishedRowsError]
    seconds: float
    pending: int
    place: str
    published_to: str = ""
    unpublished: str = ""

    def __str__(self) -> str:
        """Returns a table to read at a glance."""
        rows = [["", *_COLUMNS.values(), "live rows"]]
        for name, table in self.tables.items():
            numbers = [*(table.counts[count] for count in _COLUMNS), table.live_rows]
            rows.append([name, *(f"{number:,}" for number in numbers)])
        return "\n".join([*text_table(rows), *self._footer()])

    def as_json(self) -> dict[str, Any]:
        """Returns it for `json.dumps`, with keys that stay as they are."""
        return {
            "place": self.place,
            "seconds": round(self.seconds, 1),
            "pending_packages": self.pending,
            "tables": {name: table.as_json() for name, table in self.tables.items()},
            "published_to": self.published_to or None,
            "not_loaded": [*self.guarded, *self.refusals],
        }

    @property
    def problem(self) -> str:
        """What to do about tables that were not loaded, and the copy; empty when all is well."""
        sentences = [str(error) for error in self.guarded.values()]
        if len(self.refusals) == 1:
            [(table, error)] = self.refusals.items()
            sentences.append(refusal_message(COLLECTIONS[table], error))
        else:
            sentences += [*self._unreadable(), *self._missing()]
        if self.refusals:
            sentences.append("What was loaded before stays as it is.")
        if sentences and self.tables:
            sentences.append("All others are loaded.")
        return " ".join(filter(None, [*sentences, self.unpublished]))

    def _unreadable(self) -> Iterator[str]:
        tables = [t for t, error in self.refusals.items() if not isinstance(error, NotFoundError)]
        if tables:
            scopes = {" or ".join(COLLECTIONS[table].read_scopes) for table in tables}
            yield (
                f"Protime does not let this client read {', '.join(tables)}. Ask Protime for the"
                f" scope {' and '.join(sorted(scopes))}, or leave them out of the setting"
                " collections."
            )

    def _missing(self) -> Iterator[str]:
        tables = [t for t, error in self.refusals.items() if isinstance(error, NotFoundError)]
        if tables:
            yield (
                f"Protime answers 404 to {', '.join(tables)}. Check the setting"
                f" {_setting_of_path(tables)}, or leave them out of the setting collections."
            )

    def _footer(self) -> Iterator[str]:
        requests = sum(table.counts["requests"] for table in self.tables.values())
        noun = "request" if requests == 1 else "requests"
        first = " What an earlier run had left was loaded first." if self.pending else ""
        refused = self._refused_records()
        yield from wrap(f"{requests:,} {noun} in {self.seconds:.1f} s.{first}{refused}")
        yield from wrap(f"Loaded into {self.place}.")
        if self.published_to:
            yield from wrap(f"Published to {self.published_to}.")
        yield from wrap(self._expiry())

    def _refused_records(self) -> str:
        refused = sum(table.counts["refused_records"] for table in self.tables.values())
        return f" {refused:,} records were left out: see the warnings." if refused else ""

    def _expiry(self) -> str:
        """When the first delta expires."""
        expiries = [table.bookmark.expires for table in self.tables.values() if table.bookmark]
        if not expiries:
            return ""
        until = f"{min(expiries):%Y-%m-%d %H:%M} UTC"
        return f"The delta expires {until}, unless a run uses it before."


def refusal_message(collection: Collection, refusal: ApiError) -> str:
    """Returns why a collection is not loaded, and what to do about it."""
    if isinstance(refusal, NotFoundError):
        return (
            f"{collection.table} is not loaded because Protime does not have it: {refusal} Check"
            f" the setting {_setting_of_path([collection.table])}, or leave it out of the setting"
            " collections."
        )
    return (
        f"{collection.table} is not loaded because Protime does not let this client read it:"
        f" {refusal} It needs the scope {' or '.join(collection.read_scopes)}."
    )


def _setting_of_path(tables: Sequence[str]) -> str:
    return "activity_structures" if "activity_definitions" in tables else "api_url"
