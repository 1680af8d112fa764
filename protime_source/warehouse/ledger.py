"""The ledger: a table with one row per run and collection, whatever became of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.sql_client import SqlClientBase

from protime_source.warehouse.dialect import Client, Dialect, column_names

TABLE = "sync_runs"

ColumnType = Literal["text", "bigint", "timestamp"]

COLUMNS: dict[str, tuple[ColumnType, str]] = {
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
"""The columns: dlt's data type, and what they mean."""

Entry = Mapping[str, Any]
"""The values of one row by column; those that are missing are empty."""


class LedgerTable:
    """The table of the ledger.

    Args:
        client: A client of the destination; opened and closed by each call.
        dialect: The destination's.
    """

    def __init__(self, client: Client, dialect: Dialect) -> None:
        self._sql = client.sql_client
        self._dialect = dialect
        self._name = self._sql.make_qualified_table_name(TABLE)

    def open(self, entries: Sequence[Entry], now: datetime) -> None:
        """Adds the rows of a run that begins, and closes those of runs that were killed.

        Args:
            entries: The rows.
            now: The present time (UTC).

        Raises:
            DestinationException: When the destination refuses.
        """
        with self._sql as client:
            if not client.has_dataset():
                client.create_dataset()
            columns = ", ".join(f"{name} {self._type(kind)}" for name, (kind, _) in COLUMNS.items())
            client.execute_sql(f"CREATE TABLE IF NOT EXISTS {self._name} ({columns})")
            client.execute_sql(
                f"UPDATE {self._name} SET outcome = 'failed', ended_at = %s, error = %s"
                " WHERE outcome = 'running'",
                now,
                "The run ended without a word: it was killed, or its machine stopped.",
            )
            try:
                self._insert(client, entries)
            except DatabaseException:
                if not self._add_columns(client):
                    raise
                self._insert(client, entries)

    def _insert(self, client: SqlClientBase[Any], entries: Sequence[Entry]) -> None:
        """Names all columns, so that it fails when another version created the table without one.

        A query for the columns would cost BigQuery a second in each run.
        """
        rows = (
            f"({', '.join('%s' if entry.get(name) is not None else 'NULL' for name in COLUMNS)})"
            for entry in entries
        )
        client.execute_sql(
            f"INSERT INTO {self._name} ({', '.join(COLUMNS)}) VALUES {', '.join(rows)}",
            *(e[name] for e in entries for name in COLUMNS if e.get(name) is not None),
        )

    def _add_columns(self, client: SqlClientBase[Any]) -> bool:
        """Adds the columns that the table lacks, if it is a ledger; returns whether it did."""
        known = column_names(client, self._name)
        missing = [name for name in COLUMNS if name not in known] if "run_id" in known else []
        for name in missing:
            kind = self._type(COLUMNS[name][0])
            client.execute_sql(f"ALTER TABLE {self._name} ADD COLUMN {name} {kind}")
        return bool(missing)

    def close(self, run_id: str, entries: Sequence[Entry]) -> None:
        """Completes the rows of a run that ends.

        Args:
            run_id: The run.
            entries: The values that are known now, and `table_name`; all with the same columns.

        Raises:
            DestinationException: When the destination refuses.
        """
        names = [name for name in COLUMNS if name in entries[0]]
        rows = " UNION ALL ".join(
            "SELECT " + ", ".join(self._typed(name, entry[name]) for name in names)
            for entry in entries
        )
        changes = ", ".join(f"{name} = v.{name}" for name in names if name != "table_name")
        with self._sql as client:
            client.execute_sql(
                f"UPDATE {self._name} AS r SET {changes} FROM ({rows}) AS v"
                " WHERE r.run_id = %s AND r.table_name = v.table_name",
                *(e[name] for e in entries for name in names if e[name] is not None),
                run_id,
            )

    def newest_by_outcome(self) -> list[Entry]:
        """Returns the newest row of each table and outcome; none without a ledger.

        Raises:
            DestinationException: When the destination refuses.
        """
        return self._read(
            "SELECT {columns} FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY"
            " table_name, outcome ORDER BY started_at DESC) AS newest_first"
            f" FROM {self._name}) AS r WHERE newest_first = 1"
        )

    def last_runs(self, count: int) -> list[Entry]:
        """Returns all rows of the last runs, newest first; none without a ledger.

        Args:
            count: How many runs.

        Raises:
            DestinationException: When the destination refuses.
        """
        return self._read(
            f"SELECT {{columns}} FROM {self._name} WHERE run_id IN (SELECT run_id FROM"
            f" {self._name} GROUP BY run_id ORDER BY MIN(started_at) DESC LIMIT {int(count)})"
            " ORDER BY started_at DESC, run_id, table_name"
        )

    def _read(self, query: str) -> list[Entry]:
        """The result of a query for `{columns}`; one that an older version lacks is empty."""
        with self._sql as client:
            if not (known := column_names(client, self._name)):
                return []
            columns = (name if name in known else f"NULL AS {name}" for name in COLUMNS)
            rows = client.execute_sql(query.format(columns=", ".join(columns))) or ()
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]

    def _typed(self, name: str, value: object) -> str:
        """A value with its type. BigQuery's client takes no parameter without a value."""
        placeholder = "NULL" if value is None else "%s"
        return f"CAST({placeholder} AS {self._type(COLUMNS[name][0])}) AS {name}"

    def _type(self, kind: ColumnType) -> str:
        return self._dialect.timestamp_type if kind == "timestamp" else self._dialect.types[kind]
