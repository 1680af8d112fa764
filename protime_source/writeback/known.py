"""What earlier pushes and the warehouse know of assignments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

import msgspec

from protime_source.api.assignments import ActivityLevel, Assignment
from protime_source.catalogue import ASSIGNMENTS
from protime_source.warehouse.dialect import Client, column_names
from protime_source.warehouse.own_table import Entry
from protime_source.warehouse.table import IDS_PER_QUERY
from protime_source.writeback.content import FIELDS, sent_hash


class Receipts:
    """What the receipts of earlier pushes say.

    Args:
        entries: The newest of each key and status, oldest first.

    Attributes:
        done: By key, the last receipt of a change that Protime has.
        open: By key, the receipt of a later change whose outcome is not known.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.done: dict[str, Entry] = {}
        self.open: dict[str, Entry] = {}
        self._hash_of: dict[int, str] = {}
        for entry in entries:
            key = entry["key"]
            if entry["status"] == "done":
                self.done[key] = entry
                self.open.pop(key, None)
                self._hash_of[entry["id"]] = entry["sent_hash"]
            else:
                self.open[key] = entry

    def live_id(self, key: str) -> int | None:
        """Returns the id of the assignment that a key stands for; `None` when there is none."""
        entry = self.done.get(key)
        return None if entry is None or entry["action"] == "delete" else int(entry["id"])

    def are_intended(self, keys: Iterable[str]) -> bool:
        """Whether a request of one of some keys was about to be sent, and nothing tells more."""
        return any(self.open[key]["status"] == "intended" for key in keys if key in self.open)

    def live_keys(self) -> set[str]:
        """Returns the keys that stand for an assignment."""
        return {key for key in self.done if self.live_id(key) is not None}

    def live_ids(self) -> set[int]:
        """Returns the ids that a key stands for."""
        return {id_ for key in self.done if (id_ := self.live_id(key)) is not None}

    def is_as_sent(self, assignment: Assignment, key: str) -> bool:
        """Whether an assignment is as a push last wrote it, or tried to.

        Args:
            assignment: As Protime has it.
            key: The key that it is wanted under.
        """
        found = sent_hash(assignment)
        open_ = self.open.get(key)
        return found in (self._hash_of.get(assignment.id or 0), open_ and open_["sent_hash"])


class StoredAssignments:
    """The table `assignments`, which may not exist.

    Args:
        client: A client of the destination.
        exists: Whether the dataset does.
    """

    def __init__(self, client: Client, *, exists: bool) -> None:
        self._sql = client.sql_client
        self._name = self._sql.make_qualified_table_name(ASSIGNMENTS.table)
        self._columns: list[str] = []
        if exists:
            with self._sql as sql:
                self._columns = column_names(sql, self._name)

    def versions(self, ids: Sequence[int]) -> dict[int, str]:
        """Returns the versions of those assignments that the table has, by id."""
        found: dict[int, str] = {}
        for start in range(0, len(ids) if self._columns else 0, IDS_PER_QUERY):
            some = ", ".join(map(str, ids[start : start + IDS_PER_QUERY]))
            query = f"SELECT id, change_version FROM {self._name} WHERE id IN ({some})"
            with self._sql as sql:
                found |= {int(id_): str(version) for id_, version in sql.execute_sql(query) or ()}
        return found

    def synced_since(self, moment: datetime) -> Iterator[Assignment]:
        """Yields the live assignments that runs have written since a moment (UTC)."""
        names = ["id", *FIELDS]
        if not {*names, "synced_at"} <= {*self._columns}:
            return
        with self._sql as sql:
            query = (
                f"SELECT {', '.join(names)} FROM {self._name}"
                " WHERE synced_at >= %s AND NOT is_deleted"
            )
            rows = sql.execute_sql(query, moment) or ()
        for row in rows:
            values = dict(zip(names, row, strict=True))
            if isinstance(values["person_id"], int) and isinstance(values["from_date"], date):
                yield Assignment(**{**values, "activity_levels": _levels(values)})


def _levels(values: dict[str, Any]) -> tuple[ActivityLevel, ...]:
    """The levels of a row; of one that holds something else, none."""
    stored = values["activity_levels"]
    try:
        entries = msgspec.json.decode(stored) if isinstance(stored, str) else stored
        return tuple(
            ActivityLevel(level=e["level"], activity_definition_id=e["activityDefinition"]["id"])
            for e in entries or ()
        )
    except (KeyError, TypeError, msgspec.DecodeError):
        return ()
