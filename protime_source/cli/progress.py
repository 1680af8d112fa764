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
        self._clock = clock
        self.begin(0)

    def begin(self, expected: int) -> None:
        """Begins to follow a run.

        Args:
            expected: How many collections it reads.
        """
        self.expected = expected
        self.latest = ""
        self._counts: dict[str, Counts] = {}
        self._first: dict[str, Counts] = {}
        self._rows_before: Counter[str] = Counter()

    def follow(self, counts: Counts) -> None:
        """Follows a collection's counts from now on; those of its load packages are added up."""
        name = counts.table_name
        self._first.setdefault(name, counts)
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
        """Returns the rate of a collection since its first rows came; 0 until there are more.

        The time before does not count, because a collection waits for its turn then.
        """
        came_at, rows = self._first[table_name].first_rows or (self._clock(), 0)
        return (self.rows(table_name) - rows) / max(self._clock() - came_at, 0.001)

    def share(self, table_name: str) -> float | None:
        """Returns which share of a collection was received; `None` when it cannot be known.

        A full load that an earlier run began has received rows that this run does not know of.
        """
        rows, total = self.rows(table_name), self._counts[table_name].expected_rows
        is_partial = self._first[table_name].resumed
        return None if is_partial or not 0 < rows <= total else rows / total

    def seconds_left(self, table_name: str) -> float | None:
        """Returns in how many seconds a collection will be read; `None` when it cannot be known."""
        rate = self.rows_per_second(table_name)
        came_at, _ = self._first[table_name].first_rows or (self._clock(), 0)
        is_early = self._clock() - came_at < SECONDS_BEFORE_ESTIMATE
        if is_early or not rate or self.share(table_name) is None:
            return None
        return (self._counts[table_name].expected_rows - self.rows(table_name)) / rate

    def line(self, table_name: str) -> str:
        """Returns how far a collection is, as a line of a log."""
        parts = [
            f"{table_name}: {self.rows(table_name):,} rows so far",
            self.rate(table_name),
            self.percentage(table_name),
            self.time_left(table_name),
        ]
        return ", ".join(filter(None, parts)) + (
            f" ({self.of_collections()})" if self.expected > 1 else ""
        )

    def rate(self, table_name: str) -> str:
        """Returns the rate in words, like `250 a second`; empty until there is one."""
        rate = self.rows_per_second(table_name)
        return f"{rate:,.0f} a second" if rate >= 1 else ""

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
