"""What a run did, counted for people."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

progress = logging.getLogger("protime_source.progress")
"""Says at INFO how far a run is."""

SECONDS_BETWEEN_LINES = 5.0
"""How often a long run says how far it is."""


_METRICS = (
    "pages",
    "received",
    "merged",
    "marked",
    "vanished",
    "ignored",
    "requests",
    "resumed",
)


@dataclass
class Counts:
    """The counts of one collection in one load.

    Attributes:
        table: Its table.
        pages: Answers read.
        received: Records and events received, repeats included.
        merged: Rows inserted or updated.
        marked: Rows marked as deleted, announced or vanished.
        vanished: Those of them that a resync no longer found.
        same: Records that a walk without a delta showed as the warehouse has them.
        requests: Requests made to the API.
        resumed: 1 when a walk went on that an earlier load had begun.
    """

    table: str
    pages: int = 0
    received: int = 0
    merged: int = 0
    marked: int = 0
    vanished: int = 0
    same: int = 0
    requests: int = 0
    resumed: int = 0
    _said_at: float = field(default_factory=time.monotonic, repr=False)

    @property
    def ignored(self) -> int:
        """Received, but older than what the warehouse holds, repeated, or of an id never held."""
        return self.received - self.merged - self.same - (self.marked - self.vanished)

    def add_pages(self, pages: int, records: int) -> None:
        """Counts pages, and says now and then how far the run is."""
        self.pages += pages
        self.received += records
        if time.monotonic() - self._said_at >= SECONDS_BETWEEN_LINES:
            self._said_at = time.monotonic()
            progress.info("%s: %d pages, %d rows so far", self.table, self.pages, self.received)

    def metrics(self) -> dict[str, int]:
        """The counts by name, for dlt's trace."""
        return {name: getattr(self, name) for name in _METRICS}
