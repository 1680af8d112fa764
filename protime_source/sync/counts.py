"""What a run did to one collection, in numbers."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field

progress = logging.getLogger("protime_source.progress")
"""Logs at INFO how far a run is, and at DEBUG that a collection begins.

Records about a collection carry its `Counts`, which go on counting."""

SECONDS_BETWEEN_LINES = 5.0
"""How often a long run logs how far it is."""

_METRICS = (
    "pages",
    "received",
    "inserted",
    "updated",
    "soft_deleted",
    "vanished",
    "unchanged",
    "stale",
    "refused_records",
    "requests",
    "resumed",
)


@dataclass
class Counts:
    """The counts of one collection in one load package.

    Attributes:
        table_name: Its table.
        pages: Pages read.
        received: Records and events received, repeats included.
        inserted: Rows that the table did not have.
        updated: Rows whose values changed, soft-deleted rows that are live again, and those that
            vanished and whose deletion was announced later.
        soft_deleted: Rows soft-deleted, announced or vanished.
        vanished: Those of them that a full load no longer found.
        unchanged: Records and events received that are as stored.
        refused_records: Records left out because their id does not fit into 64 bits.
        requests: Requests made to the API.
        resumed: 1 when a full load was resumed that an earlier package had begun.
        mode: `first load`, `changes`, `full load` or `snapshot`.
        reason: Why a full load, in words.
        expected_rows: Rows that a full load will probably show: those that were live at its start.
        continues: Whether the next load package of the run continues it.
        is_read: Whether all that the load package takes of it was read.
        first_rows: When the first rows came (`time.monotonic`), and how many.
    """

    table_name: str
    pages: int = 0
    received: int = 0
    inserted: int = 0
    updated: int = 0
    soft_deleted: int = 0
    vanished: int = 0
    unchanged: int = 0
    refused_records: int = 0
    requests: int = 0
    resumed: int = 0
    mode: str = ""
    reason: str = ""
    expected_rows: int = 0
    continues: bool = False
    is_read: bool = False
    first_rows: tuple[float, int] | None = field(default=None, repr=False)
    _logged_at: float = field(default_factory=time.monotonic, repr=False)

    @property
    def stale(self) -> int:
        """Received, but older than the stored row, repeated, or a delete of an id never stored."""
        announced = self.soft_deleted - self.vanished
        return self.received - self.inserted - self.updated - self.unchanged - announced

    @property
    def is_complete(self) -> bool:
        """Whether all of it was read."""
        return self.is_read and not self.continues

    def announce(self) -> None:
        """Logs that the collection is being read from now on."""
        progress.debug("%s: being read", self.table_name, extra={"counts": self})

    def explain(self, mode: str, reason: str = "") -> None:
        """Keeps what kind of load it is, and why."""
        self.mode, self.reason = mode, reason

    def add_pages(self, pages: int, records: int) -> None:
        """Counts pages, and logs every few seconds how far the run is."""
        self.pages += pages
        self.received += records
        now = time.monotonic()
        self.first_rows = self.first_rows or (now, records)
        if now - self._logged_at >= SECONDS_BETWEEN_LINES:
            self._logged_at = now
            text = f"{self.received:,}"
            progress.info("%s: %s rows so far", self.table_name, text, extra={"counts": self})

    def metrics(self) -> dict[str, int]:
        """Returns the counts by name, for dlt's trace."""
        return {name: getattr(self, name) for name in _METRICS}


@dataclass
class Totals:
    """What the load packages of one run did to one collection.

    Attributes:
        counts: The counts of `Counts.metrics`, added up.
        mode: What kind of load the first package was.
        reason: Why a full load, in words.
    """

    counts: Counter[str] = field(default_factory=Counter)
    mode: str = ""
    reason: str = ""

    def add(self, counts: Counts) -> None:
        """Adds a package."""
        self.counts.update(counts.metrics())
        if not self.mode:
            self.mode, self.reason = counts.mode, counts.reason
