"""How far a run is, in numbers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from protime_source.sync.counts import Counts

SECONDS_BEFORE_ESTIMATE = 3.0
"""How long a collection is read before its rate says when it will be done."""


class Progress:
    """How far the collections of a run are.

    Args:
        clock: Seconds that only grow.

    Attributes:
        expected: How many collections the run reads.
        latest: What the run said last about anything but numbers.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.expected = 0
        self.latest = ""
        self._clock = clock
        self._counts: dict[str, Counts] = {}
        self._first: dict[str, tuple[float, Counts]] = {}
        self._rows_before: Counter[str] = Counter()

    def follow(self, counts: Counts) -> None:
        """Follows a collection's counts from now on; those of its load packages are added up."""
        name = counts.table_name
        self._first.setdefault(name, (self._clock(), counts))
        before = self._counts.get(name)
        if before is not None and before is not counts:
            self._rows_before[name] += before.received
        self._counts[name] = counts

    @property
    def has_begun(self) -> bool:
        """Whether a collection is being read, or was."""
        return bool(self._counts)

    @property
    def is_reading(self) -> bool:
        """Whether a collection is read at this moment."""
        return any(not counts.is_read for counts in list(self._counts.values()))

    @property
    def in_progress(self) -> list[str]:
        """The tables of the collections that are not read to their end."""
        return [name for name, counts in list(self._counts.items()) if not counts.is_complete]

    @property
    def all_rows(self) -> int:
        """The rows of all collections that were received so far."""
        return sum(map(self.rows, list(self._counts)))

    @property
    def collections_read(self) -> int:
        """How many collections were read to their end."""
        return len(self._counts) - len(self.in_progress)

    def rows(self, table_name: str) -> int:
        """Returns the rows of a collection that were received so far."""
        return self._rows_before[table_name] + self._counts[table_name].received

    def rows_per_second(self, table_name: str) -> float:
        """Returns the rate of a collection, the time that loading took included."""
        return self.rows(table_name) / max(self._seconds(table_name), 0.001)

    def share(self, table_name: str) -> float | None:
        """Returns which share of a collection was received; `None` when it cannot be known.

        A full load that an earlier run began has received rows that this run does not know of.
        """
        (_, first), rows = self._first[table_name], self.rows(table_name)
        total = self._counts[table_name].expected_rows
        return None if first.resumed or not 0 < rows <= total else rows / total

    def seconds_left(self, table_name: str) -> float | None:
        """Returns in how many seconds a collection will be read; `None` when it cannot be known."""
        share, seconds = self.share(table_name), self._seconds(table_name)
        if share is None or seconds < SECONDS_BEFORE_ESTIMATE:
            return None
        return seconds * (1 - share) / share

    def line(self, table_name: str) -> str:
        """Returns how far a collection is, as a line of a log."""
        parts = [
            f"{table_name}: {self.rows(table_name):,} rows so far",
            f"{self.rows_per_second(table_name):,.0f} a second",
            *filter(None, (self.percentage(table_name), self.time_left(table_name))),
        ]
        return ", ".join(parts) + (f" ({self.of_collections()})" if self.expected > 1 else "")

    def percentage(self, table_name: str) -> str:
        """Returns the share in words, like `45 %`; empty when it cannot be known."""
        share = self.share(table_name)
        return "" if share is None else f"{int(share * 100)} %"

    def time_left(self, table_name: str) -> str:
        """Returns the time left in words, like `2 min left`; empty when it cannot be known."""
        seconds = self.seconds_left(table_name)
        if seconds is None:
            return ""
        if seconds < 60:
            return f"{seconds:.0f} s left"
        return f"{seconds / 60:.0f} min left" if seconds < 5400 else f"{seconds / 3600:.1f} h left"

    def of_collections(self) -> str:
        """Returns how many collections were read, like `7 of 31 collections read`."""
        noun = "collection" if self.expected == 1 else "collections"
        return f"{self.collections_read} of {self.expected} {noun} read"

    def _seconds(self, table_name: str) -> float:
        return self._clock() - self._first[table_name][0]
