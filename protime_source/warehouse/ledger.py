"""The ledger: a table with one row per run and collection, whatever became of the run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation
from dlt.destinations.sql_client import SqlClientBase

from protime_source.warehouse.own_table import Columns, Entry, OwnTable

TABLE = "sync_runs"

SILENT = "The run ended without a word: it was killed, or its machine stopped."
Silence = frozenset[Literal["found", "known"]]
"""Which runs have ended so: some that are closed now, and some that were closed before."""

DOUBTED_FOR = timedelta(days=7)
"""So long may such a run only have stood still, as on a machine that was suspended, and go on."""

COLUMNS: Columns = {
    "run_id": ("text", "The run; each of its collections has one row."),
    "collection": ("text", "Protime's name of the collection."),
    "table_name": ("text", "The collection's table."),
    "started_at": ("timestamp", "When the run began to read from Protime (UTC)."),
    "ended_at": ("timestamp", "When it ended (UTC); empty while it runs."),
    "mode": ("text", "`first load`, `changes`, `full load` or `snapshot`; empty if none began."),
    "reason": ("text", "Why it was a full load."),
    "outcome": ("text", "`running`, `succeeded`, `failed` or `refused`."),
    "error": ("text", "Why it failed, in one line."),
    "requests": ("bigint", "Requests to the API."),
    "received": ("bigint", "Records and events that came, repeats included."),
    "inserted": ("bigint", "Rows that the table did not have."),
    "updated": ("bigint", "Rows whose values changed, and deleted rows that are live again."),
    "soft_deleted": ("bigint", "Rows soft-deleted, announced by the delta or vanished."),
    "unchanged": ("bigint", "Received, and as stored: not written."),
    "stale": ("bigint", "Received, but older than stored, repeated, or a delete of no row."),
    "live_rows": ("bigint", "Rows in the table that are not soft-deleted, after the run."),
    "delta_expires_at": ("timestamp", "When the delta expires unless a run uses it (UTC)."),
    "package_version": ("text", "Version of this package."),
    "load_id": ("text", "dlt's id of the run's last load package."),
}

_IS_WHOLE = " AND ".join(
    f"{name} IS NOT NULL" for name in ("run_id", "table_name", "started_at", "outcome")
)
"""What is true of each row unless a hand has taken a column."""


class LedgerTable(OwnTable):
    """The table of the ledger."""

    table = TABLE
    columns = COLUMNS

    def open(self, entries: Sequence[Entry], now: datetime) -> Silence:
        """Adds the rows of a run that begins, and closes those of runs that were killed.

        Args:
            entries: The rows.
            now: The present time (UTC).

        Returns:
            Which runs have ended without a word.

        Raises:
            DestinationException: When the destination refuses.
        """
        with self._sql as client:
            try:
                silence = self._close_silent(client, now)
            except DatabaseUndefinedRelation:
                self._create(client)
                silence = frozenset()
            except DatabaseException:
                if not self._add_columns(client):
                    raise
                self._create(client)  # the indexes went with their columns
                silence = frozenset({"found"})  # nothing tells any more
            self._insert(client, entries)
        return silence

    def _close_silent(self, client: SqlClientBase[Any], now: datetime) -> Silence:
        """Touches those that were closed lately, too: one statement finds out about both."""
        with client.execute_query(
            f"UPDATE {self._name} SET outcome = 'failed', ended_at = COALESCE(ended_at, %s),"
            " error = %s WHERE outcome = 'running'"
            " OR (outcome = 'failed' AND error = %s AND ended_at > %s)",
            now,
            SILENT,
            SILENT,
            now - DOUBTED_FOR,
        ) as cursor:
            closed: Any = cursor
            # DuckDB returns the number as a row.
            count = closed.rowcount if closed.rowcount >= 0 else closed.fetchone()[0]
        if not count:
            return frozenset()
        query = f"SELECT COUNT(*) FROM {self._name} WHERE error = %s AND ended_at = %s"
        [(found,)] = client.execute_sql(query, SILENT, now) or [(0,)]
        silence: Silence = frozenset({"found"}) if found else frozenset()
        return silence | {"known"} if count > found else silence

    def _create(self, client: SqlClientBase[Any]) -> None:
        """Creates the table, with indexes so that no run has to read all rows."""
        super()._create(client)
        for column in ("run_id", "outcome"):
            for statement in self._dialect.create_index(self._name, f"{TABLE}__{column}", column):
                client.execute_sql(statement)

    def close(self, run_id: str, entries: Sequence[Entry]) -> None:
        """Completes the rows of a run that ends.

        Args:
            run_id: The run.
            entries: The values that are known now, and `table_name`; all with the same columns.

        Raises:
            DestinationException: When the destination refuses.
        """
        with self._sql as client:
            rows = [{**entry, "run_id": run_id} for entry in entries]
            self._update(client, rows, keys=("run_id", "table_name"))

    def newest_by_outcome(self) -> list[Entry]:
        """Returns the newest row of each table and outcome; none without a ledger.

        Raises:
            DestinationException: When the destination refuses.
        """
        return self._read(
            f"SELECT {', '.join(COLUMNS)} FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY"
            " table_name, outcome ORDER BY started_at DESC) AS newest_first"
            f" FROM {{rows}} AS e WHERE {_IS_WHOLE}) AS r WHERE newest_first = 1"
        )

    def last_runs(self, count: int) -> list[Entry]:
        """Returns all rows of the last runs, newest first; none without a ledger.

        Args:
            count: How many runs.

        Raises:
            DestinationException: When the destination refuses.
        """
        return self._read(
            f"SELECT {', '.join(COLUMNS)} FROM {{rows}} AS e WHERE {_IS_WHOLE} AND run_id IN"
            f" (SELECT run_id FROM {{rows}} AS r WHERE {_IS_WHOLE} GROUP BY run_id"
            f" ORDER BY MIN(started_at) DESC LIMIT {int(count)})"
            " ORDER BY started_at DESC, run_id, table_name"
        )
