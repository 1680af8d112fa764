"""What a delta's events mean for rows that the warehouse holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from protime_source.decode.soft_delete import Row, deleted, live

DELETE = "delete"
"""The change type of a deletion (reference/delta), compared in lower case: the documentation's
spelling is not steady elsewhere. All others carry the record as it is now."""


@dataclass
class _Seen:
    """The newest of each kind that was announced for one id."""

    update: Row | None = None
    delete: Row | None = None

    def add(self, kind: str, row: Row) -> None:
        """Keeps the event when it is newer than what is kept; order means nothing."""
        if kind.lower() == DELETE:
            self.delete = _newer(self.delete, row)
        else:
            self.update = _newer(self.update, row)
            if row["change_version"] == "":
                self.delete = None  # it came back: without versions, what comes later counts


@dataclass(frozen=True)
class Changes:
    """The rows to merge.

    Attributes:
        updated: Rows that are live now.
        deleted: Rows that are marked now, with their last-known values.
    """

    updated: list[Row]
    deleted: list[Row]


class EventLog:
    """Collects the events of one delta run, in whatever order and however often they come.

    Args:
        deleted_status: The `status` of records that are deleted although they come as updates.
    """

    def __init__(self, deleted_status: str = "") -> None:
        self._deleted_status = deleted_status
        self._seen: dict[int, _Seen] = {}

    @property
    def ids(self) -> list[int]:
        """The ids that were mentioned."""
        return list(self._seen)

    def add(self, events: Iterable[tuple[str, Row]]) -> None:
        """Adds events: change type and row."""
        for kind, row in events:
            is_deleted = self._deleted_status and row.get("status") == self._deleted_status
            self._seen.setdefault(row["id"], _Seen()).add(DELETE if is_deleted else kind, row)

    def apply(self, held: Mapping[int, Row], now: datetime) -> Changes:
        """Compares the events with what the warehouse holds.

        Args:
            held: Last-known rows of the mentioned ids, as far as there are any.
            now: When the events were received (UTC).

        Returns:
            What to merge. Events older than the row held, deletes of ids never held, and
            repeated deletes are not in it.
        """
        changes = Changes([], [])
        for id_, seen in self._seen.items():
            if seen.delete and reaches(seen.delete, seen.update):
                if row := _deletion(seen, held.get(id_), now):
                    changes.deleted.append(row)
            elif seen.update and _overwrites(seen.update, held.get(id_)):
                changes.updated.append(live(seen.update, now))
        return changes


def _newer(kept: Row | None, row: Row) -> Row:
    return row if kept is None or reaches(row, kept) else kept


def reaches(row: Row, other: Row | None) -> bool:
    """Whether a row's version is at least the other's; versions compare as text.

    Where a record came without one, what came later counts.
    """
    version = row["change_version"]
    return other is None or version == "" or bool(version >= other["change_version"])


def _overwrites(update: Row, held: Row | None) -> bool:
    """Whether an update is news. At equal versions an announced deletion stands: it came later."""
    if held is None:
        return True
    is_same = held["change_version"] == update["change_version"] != ""
    return reaches(update, held) and not (is_same and held["delete_reason"] == "announced")


def _deletion(seen: _Seen, held: Row | None, now: datetime) -> Row | None:
    """The row to mark: the newest values we know, and whatever the deletion itself carries."""
    delete = seen.delete
    if delete is None or held is None or not reaches(delete, held):
        return None
    if held["delete_reason"] == "announced" and reaches(held, delete):
        return None
    newest = seen.update if seen.update and reaches(seen.update, held) else held
    carried = {name: value for name, value in delete.items() if value is not None}
    carried["change_version"] = delete["change_version"] or newest["change_version"]
    known = {**newest, **carried, "deleted_at": held["deleted_at"], "synced_at": now}
    return deleted(known, "announced", now)
