"""The receipts: a table with one row for each change that a push was about to send to Protime."""

from __future__ import annotations

from collections.abc import Sequence

from protime_source.errors import WarehouseError
from protime_source.warehouse.dialect import column_names
from protime_source.warehouse.own_table import Columns, Entry, OwnTable

TABLE = "assignment_writes"

COLUMNS: Columns = {
    "run_id": ("text", "The push; each key has at most one row in it."),
    "key": ("text", "The caller's own key of the assignment."),
    "id": ("bigint", "Protime's id of the assignment; empty until it is known."),
    "action": ("text", "`create`, `update` or `delete`."),
    "sent_hash": ("text", "Identifies the values that were sent, without holding them."),
    "status": ("text", "`intended`, `done`, `failed` or `uncertain`."),
    "reason": ("text", "Why it failed, in Protime's words if it gave any, or what is uncertain."),
    "intended_at": ("timestamp", "When this row was written, before the request was sent (UTC)."),
    "ended_at": ("timestamp", "When the outcome was known (UTC)."),
    "tenant": ("text", "The tenant and its API address."),
}

_NEEDED = ("run_id", "key", "id", "action", "sent_hash", "status", "intended_at")
"""The columns that tell what was sent."""

_ENDED = ("run_id", "key", "id", "status", "reason", "ended_at")
"""The columns that an outcome fills, and those that tell whose."""


class ReceiptTable(OwnTable):
    """The table of the receipts."""

    table = TABLE
    columns = COLUMNS

    def intend(self, entries: Sequence[Entry]) -> None:
        """Adds receipts; they are committed when this returns.

        Args:
            entries: The rows, each of another key.

        Raises:
            DestinationException: When the destination refuses.
        """
        with self._sql as client:
            self._create(client)
            self._insert(client, entries)

    def end(self, entries: Sequence[Entry]) -> None:
        """Writes what became of receipts.

        Args:
            entries: Their `run_id` and `key`, and the columns of an outcome.

        Raises:
            DestinationException: When the destination refuses.
        """
        if entries:
            rows = [{name: entry.get(name) for name in _ENDED} for entry in entries]
            with self._sql as client:
                self._update(client, rows, keys=("run_id", "key"))

    def newest(self) -> list[Entry]:
        """Returns the newest receipt of each key and status, oldest first; none without a table.

        Raises:
            DestinationException: When the destination refuses.
            WarehouseError: When the table lacks a column that tells what was sent.
        """
        with self._sql as client:
            known = column_names(client, self._name)
        if lacking := [name for name in _NEEDED if known and name not in known]:
            raise WarehouseError(
                f"{TABLE} lacks {' and '.join(lacking)}, so nothing tells what earlier pushes have"
                " sent, and it might be created twice. Nothing was sent. Put the table back from a"
                " backup."
            )
        return self._read(
            f"SELECT {', '.join(COLUMNS)} FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY"
            " key, status ORDER BY intended_at DESC) AS newest_first FROM {rows} AS e) AS r"
            " WHERE newest_first = 1 AND status <> 'failed' ORDER BY intended_at"
        )

    def count_of_others(self, run_id: str) -> int:
        """Returns how many receipts other pushes have written.

        Args:
            run_id: The push whose receipts are not counted.

        Raises:
            DestinationException: When the destination refuses.
        """
        with self._sql as client:
            query = f"SELECT COUNT(*) FROM {self._name} WHERE run_id <> %s"
            [(count,)] = client.execute_sql(query, run_id) or [(0,)]
        return int(count)
