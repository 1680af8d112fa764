"""What a verification found, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from protime_source.errors import ApiError, DifferencesError, RefusedCollectionsError
from protime_source.pipeline.text import text_table, wrap
from protime_source.verification.compare import Differences

EXAMPLES = 10
"""Ids of each kind of difference that a report names."""

KINDS = {
    "missing": "Protime shows the record, but no live row has its id",
    "extra": "the row is live, but Protime does not show it",
    "older": "the row's version is older than Protime's",
    "different": "the row's values or version are not Protime's",
}
"""The kinds of differences, and what each means."""


@dataclass(frozen=True)
class Found:
    """The ids of one kind of difference.

    Attributes:
        count: How many.
        examples: The first of them.
    """

    count: int = 0
    examples: tuple[Any, ...] = ()


@dataclass(frozen=True)
class TableReport:
    """What was found about one table.

    Attributes:
        compared: Records of Protime that were compared.
        missing: Records that no live row has the id of.
        extra: Live rows that Protime does not show, or shows as deleted.
        older: Rows whose version is older than Protime's.
        different: Rows whose version Protime does not show, or whose values are others.
        notes: What a reader must know about it.
        not_compared: Why it was not compared; empty if it was.
        is_mended: Whether a full load since has mended all that differed.
    """

    compared: int = 0
    missing: Found = Found()
    extra: Found = Found()
    older: Found = Found()
    different: Found = Found()
    notes: tuple[str, ...] = ()
    not_compared: str = ""
    is_mended: bool = False

    @property
    def found(self) -> dict[str, Found]:
        """The differences by kind."""
        return {kind: getattr(self, kind) for kind in KINDS}

    @property
    def differs(self) -> bool:
        """Whether something differs."""
        return any(found.count for found in self.found.values())


@dataclass(frozen=True)
class VerifyReport:
    """What a verification found.

    Attributes:
        tables: What it found about each table.
        deep: Whether values were compared, or ids and versions alone.
        requests: Requests to Protime, without those of a load in between.
        seconds: How long it took.
    """

    tables: Mapping[str, TableReport]
    deep: bool
    requests: int
    seconds: float

    @property
    def differs(self) -> bool:
        """Whether something differs."""
        return any(table.differs for table in self.tables.values())

    @property
    def not_compared(self) -> dict[str, str]:
        """The tables that were not compared, and why."""
        reasons = ((name, table.not_compared) for name, table in self.tables.items())
        return {name: reason for name, reason in reasons if reason}

    @property
    def exit_code(self) -> int:
        """The command's exit code: 8 if something differs, 3 if not all could be compared."""
        if self.differs:
            return DifferencesError.exit_code
        return ApiError.exit_code if self.not_compared else 0

    def raise_for_differences(self) -> None:
        """Raises an error unless all was compared and nothing differs.

        Raises:
            DifferencesError: When something differs.
            RefusedCollectionsError: When nothing differs, but not all could be compared.
        """
        if self.differs:
            tables = ", ".join(name for name, table in self.tables.items() if table.differs)
            raise DifferencesError(f"{self._verdict} It concerns {tables}.", self)
        if reasons := self.not_compared:
            text = " ".join(reasons.values())
            raise RefusedCollectionsError(f"Not all was compared. {text}", tuple(reasons))

    def __str__(self) -> str:
        """Returns a table to read at a glance, and the ids of what differs."""
        rows = [["", "compared", *KINDS]]
        for name, table in self.tables.items():
            counts = [table.compared, *(found.count for found in table.found.values())]
            numbers = [f"{count:,}" for count in counts]
            if table.not_compared:
                numbers = ["not compared"] + [""] * len(KINDS)
            rows.append([name, *numbers])
        lines = text_table(rows)
        details = [line for name, table in self.tables.items() for line in _details(name, table)]
        return "\n".join(
            [*lines, *(each for line in details for each in wrap(line)), *wrap(self._footer())]
        )

    def _footer(self) -> str:
        what = "every documented field" if self.deep else "ids and versions"
        noun = "request" if self.requests == 1 else "requests"
        cost = f"{self.requests:,} {noun} in {self.seconds:.1f} s."
        return f"Compared {what}. {cost} {self._verdict}"

    @property
    def _verdict(self) -> str:
        """What was found in all, and what to do."""
        if not self.differs:
            return "Nothing that was compared differs."
        is_mended = all(table.is_mended for table in self.tables.values() if table.differs)
        return _MENDED if is_mended else _DIFFERS


_DIFFERS = (
    "The warehouse differs from Protime. A run with --full-resync loads everything from the start"
    " and makes it agree; find out first who else writes to these tables."
)
_MENDED = (
    "The warehouse differed from Protime, until the full load of the run in between mended it."
    " Verify again after the next run; if it differs again, find out who else writes to these"
    " tables."
)


def _details(name: str, table: TableReport) -> Iterator[str]:
    for kind, found in table.found.items():
        if found.count:
            ids = ", ".join(map(str, found.examples))
            more = ", ..." if found.count > len(found.examples) else ""
            yield f"{name}: {KINDS[kind]}: {ids}{more}"
    for note in (*table.notes, table.not_compared):
        if note:
            yield f"{name}: {note}"


def table_report(
    compared: int, differences: Differences, notes: tuple[str, ...], *, is_mended: bool = False
) -> TableReport:
    """Returns the report on a table that was compared.

    Args:
        compared: Records of Protime that were compared.
        differences: What differs.
        notes: What a reader must know about it.
        is_mended: Whether a full load since has mended all that differs.
    """
    found: dict[str, Any] = {
        kind: Found(len(ids), tuple(ids.sort()[:EXAMPLES].to_pylist())) for kind, ids in differences
    }
    return TableReport(compared, notes=notes, is_mended=is_mended, **found)
