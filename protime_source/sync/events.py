"""What the events of a delta mean for the stored rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from protime_source.decode.soft_delete import Row, live, soft_deleted
from protime_source.errors import UnknownChangeError

DELETE, UPDATE = "delete", "insertorupdate"
"""The change types (reference/delta), compared in lower case because the documentation's spelling
is not consistent. An update carries the record as it is now."""


@dataclass
class _NewestEvents:
    """The newest update and the newest delete announced for one id."""

    update: Row | None = None
    delete: Row | None = None

    def add(self, row: Row, *, is_delete: bool) -> None:
        """Keeps the event if it is the newest of its type; the order of events means nothing."""
        if is_delete:
            self.delete = _newer(self.delete, row)
        else:
            self.update = _newer(self.update, row)
            if row["change_version"] == "":
                self.delete = None  # without versions the later event counts: the record is back


@dataclass
class Changes:
    """The rows to merge.

    Attributes:
        inserted: Rows that the table does not have.
        updated: Rows that differ from the stored ones: live now, or deleted for another reason.
        deleted: Rows that were live and are soft-deleted now, with their last-known values.
        unchanged: How many ids have the stored values.
        live_rows_added: How many more live rows the table has after the merge; negative if fewer.
    """

    inserted: list[Row] = field(default_factory=list)
    updated: list[Row] = field(default_factory=list)
    deleted: list[Row] = field(default_factory=list)
    unchanged: int = 0
    live_rows_added: int = 0

    @property
    def rows(self) -> list[Row]:
        """All of the rows."""
        return self.inserted + self.updated + self.deleted


class EventReducer:
    """Reduces the events of one delta run, in any order and repetition, to rows to merge.

    Args:
        deleted_status: The `status` of records that are deleted although they come as updates.
    """

    def __init__(self, deleted_status: str = "") -> None:
        self._deleted_status = deleted_status
        self._newest: dict[Any, _NewestEvents] = {}

    @property
    def ids(self) -> list[Any]:
        """The ids that were mentioned."""
        return list(self._newest)

    def add(self, events: Iterable[tuple[str, Row]]) -> None:
        """Adds events: change type and row.

        Raises:
            UnknownChangeError: When a change type is not documented: what is not understood must
                not be written.
        """
        for change_type, row in events:
            kind = change_type.lower()
            if kind not in (DELETE, UPDATE):
                raise UnknownChangeError(change_type)
            has_deleted_status = self._deleted_status and row.get("status") == self._deleted_status
            newest = self._newest.setdefault(row["id"], _NewestEvents())
            newest.add(row, is_delete=kind == DELETE or bool(has_deleted_status))

    def apply(
        self, stored: Mapping[Any, Row], now: datetime, is_as_stored: Callable[[Row, Row], bool]
    ) -> Changes:
        """Compares the events with the stored rows.

        Args:
            stored: Last-known rows of the mentioned ids, as far as the table has them.
            now: When the rows are written (UTC).
            is_as_stored: Whether a row has the values of a stored one, sync columns apart.

        Returns:
            What to merge. Events older than the stored row, deletes of ids never stored, repeated
            deletes and rows as stored are left out.
        """
        changes = Changes()
        for id_, newest in self._newest.items():
            row = stored.get(id_)
            if newest.delete and is_at_least_as_new(newest.delete, newest.update):
                if deletion := _deletion(newest, row, now):
                    was_live = bool(row and not row["is_deleted"])
                    (changes.deleted if was_live else changes.updated).append(deletion)
                    changes.live_rows_added -= was_live
            elif newest.update and row is None:
                changes.inserted.append(live(newest.update, now))
                changes.live_rows_added += 1
            elif newest.update and row and _overwrites(newest.update, row):
                if not row["is_deleted"] and is_as_stored(newest.update, row):
                    changes.unchanged += 1
                else:
                    changes.updated.append(live(newest.update, now))
                    changes.live_rows_added += bool(row["is_deleted"])
        return changes


def is_at_least_as_new(row: Row, other: Row | None) -> bool:
    """Whether a row's version is at least the other's; versions compare as text.

    Where a record has no version, the later one counts.
    """
    version = row["change_version"]
    return other is None or version == "" or bool(version >= other["change_version"])


def _newer(kept: Row | None, row: Row) -> Row:
    return row if kept is None or is_at_least_as_new(row, kept) else kept


def _overwrites(update: Row, stored: Row) -> bool:
    """Whether an update counts against the stored row.

    At equal versions an announced deletion stands, because Protime announced it later.
    """
    is_same_version = stored["change_version"] == update["change_version"] != ""
    is_announced = stored["delete_reason"] == "announced"
    return is_at_least_as_new(update, stored) and not (is_same_version and is_announced)


def _deletion(newest: _NewestEvents, stored: Row | None, now: datetime) -> Row | None:
    """The row to soft-delete: the newest known values, and those that the delete itself carries."""
    delete = newest.delete
    if delete is None or stored is None or not is_at_least_as_new(delete, stored):
        return None
    if stored["delete_reason"] == "announced" and is_at_least_as_new(stored, delete):
        return None
    update_is_newer = newest.update and is_at_least_as_new(newest.update, stored)
    last_known = newest.update if newest.update and update_is_newer else stored
    carried = {name: value for name, value in delete.items() if value is not None}
    carried["change_version"] = delete["change_version"] or last_known["change_version"]
    return soft_deleted(
        {**last_known, **carried, "deleted_at": stored["deleted_at"]}, "announced", now
    )
