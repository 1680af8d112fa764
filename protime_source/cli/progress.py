"""How far a run is, in numbers."""

from __future__ import annotations

from collections import Counter

from protime_source.sync.counts import Counts


class Progress:
    """How far the collections of a run are.

    Attributes:
        expected: How many collections the run reads.
        latest: What the run said last about anything but numbers.
    """

    def __init__(self) -> None:
        self.expected = 0
        self.latest = ""
        self._counts: dict[str, Counts] = {}
        self._rows_before: Counter[str] = Counter()

    def follow(self, counts: Counts) -> None:
        """Follows a collection's counts from now on; those of its load packages are added up."""
        name = counts.table_name
        before = self._counts.get(name)
        if before is not None and before is not counts:
            self._rows_before[name] += before.received
        self._counts[name] = counts

    @property
    def has_begun(self) -> bool:
        """Whether a collection is being read, or was."""
        return bool(self._counts)

    @property
    def in_progress(self) -> list[Counts]:
        """The collections that are being read."""
        return [counts for counts in list(self._counts.values()) if not counts.is_read]

    def rows(self, table_name: str) -> int:
        """Returns the rows of a collection that were received so far."""
        return self._rows_before[table_name] + self._counts[table_name].received

    @property
    def all_rows(self) -> int:
        """The rows of all collections that were received so far."""
        return sum(map(self.rows, list(self._counts)))

    def share(self) -> str:
        """Returns how many collections were read, like `7 of 31 collections read`."""
        done = len(self._counts) - len(self.in_progress)
        noun = "collection" if self.expected == 1 else "collections"
        return f"{done} of {self.expected} {noun} read"
