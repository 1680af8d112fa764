"""The history of a table: every version of a row that this warehouse has ever stored.

A version is recorded once, because `synced_at` moves with each write and only grows: the rows to
record are those that were synced after the newest recorded one. One statement records them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from dlt.common.schema.typing import TTableSchema

from protime_source.warehouse.dialect import Client, Dialect, column_names

_BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)

OWN_COLUMNS = {
    "change_type": "What happened: `inserted`, `updated`, `soft_deleted` or `restored`.",
    "recorded_at": "When this warehouse wrote the version (UTC): the row's `synced_at`.",
}
"""The columns that follow those of the table, and what they mean."""

PERIOD_COLUMNS = {
    "valid_from": "When the version began (UTC): its `recorded_at`.",
    "valid_to": "When the next version began (UTC); empty for the present one.",
}
"""The columns that the view adds, and what they mean."""


def history_name(table_name: str) -> str:
    """Returns the name of a table's history."""
    return f"{table_name}__history"


def versions_name(table_name: str) -> str:
    """Returns the name of the view that shows from when to when each version was valid."""
    return f"{table_name}__versions"


class History:
    """The history of one table.

    Args:
        client: A client of the destination, whose SQL client is open.
        dialect: The destination's.
        table: dlt's schema of the table.
    """

    def __init__(self, client: Client, dialect: Dialect, table: TTableSchema) -> None:
        self._sql = client.sql_client
        self._dialect = dialect
        self._table_name = str(table["name"])
        self._table, self._staging = self._sql.get_qualified_table_names(self._table_name)
        self._history = self._sql.make_qualified_table_name(history_name(self._table_name))
        mapper: Any = client.type_mapper
        self._types = {
            name: mapper.to_destination_type(column, table)
            for name, column in table["columns"].items()
            if "data_type" in column
        }

    def record(self, *, with_removed: bool) -> None:
        """Records the versions that were written since the last time; all of them at first.

        Args:
            with_removed: Whether deleted rows are removed from the table; the last load has left
                their last-known values in the staging table.

        Raises:
            DestinationException: When the destination refuses.
        """
        stored = column_names(self._sql, self._table)
        if columns := [name for name in stored if name in self._types]:
            self._complete(columns)
            staged = column_names(self._sql, self._staging) if with_removed else []
            self._sql.execute_sql(self._insert(columns, with_removed=set(staged) >= set(columns)))

    def _complete(self, columns: Sequence[str]) -> None:
        """Creates the history and its view, or adds the columns that the table got since."""
        known = column_names(self._sql, self._history)
        missing = [name for name in columns if name not in known]
        if not known:
            text = self._dialect.types["text"]
            names = ", ".join(map(self._sql.escape_column_name, columns))
            self._sql.execute_sql(
                f"CREATE TABLE {self._history} AS SELECT {names}, CAST(NULL AS {text}) AS"
                f" change_type, synced_at AS recorded_at FROM {self._table} WHERE FALSE"
            )
            history = history_name(self._table_name)
            self._create_index(self._history, history, "id", "recorded_at")
            self._create_index(self._history, history, "recorded_at")
            self._create_index(self._table, self._table_name, "synced_at")
        else:
            for name in missing:
                column = f"{self._sql.escape_column_name(name)} {self._types[name]}"
                self._sql.execute_sql(f"ALTER TABLE {self._history} ADD COLUMN {column}")
        if missing:
            kept = [name for name in known if name not in OWN_COLUMNS]
            self._sql.execute_sql(self._view([*kept, *missing]))

    def _create_index(self, table: str, table_name: str, *columns: str) -> None:
        name = f"{table_name}__{'_'.join(columns)}"
        for statement in self._dialect.create_index(table, name, *columns):
            self._sql.execute_sql(statement)

    def _insert(self, columns: Sequence[str], *, with_removed: bool) -> str:
        names = ", ".join(map(self._sql.escape_column_name, columns))
        since = "synced_at > (SELECT moment FROM recorded)"
        new = f"SELECT {names} FROM {self._table} WHERE {since}"
        if with_removed:
            new += (
                f" UNION ALL SELECT {names} FROM {self._staging} WHERE {since} AND is_deleted"
                f" AND id NOT IN (SELECT id FROM {self._table})"
                f" AND id IN (SELECT id FROM {self._history})"
            )
        return (
            f"INSERT INTO {self._history} ({names}, change_type, recorded_at)"
            f" WITH recorded AS (SELECT COALESCE(MAX(recorded_at),"
            f" {self._dialect.timestamp(_BEFORE_ALL)}) AS moment FROM {self._history}),"
            f" new AS ({new}), versions AS (SELECT id, is_deleted, ROW_NUMBER() OVER"
            f" (PARTITION BY id ORDER BY recorded_at DESC) AS newest_first FROM {self._history}"
            f" WHERE id IN (SELECT id FROM new)), was AS"
            " (SELECT id AS was_id, is_deleted AS was_deleted FROM versions WHERE newest_first = 1)"
            f" SELECT {names}, CASE WHEN is_deleted THEN 'soft_deleted'"
            " WHEN was_id IS NULL THEN 'inserted' WHEN was_deleted THEN 'restored'"
            " ELSE 'updated' END, synced_at FROM new LEFT JOIN was ON was_id = id"
        )

    def _view(self, columns: Sequence[str]) -> str:
        """The columns that a table gets later come last, so that the view can be replaced."""
        names = ", ".join(map(self._sql.escape_column_name, columns))
        view = self._sql.make_qualified_table_name(versions_name(self._table_name))
        return (
            f"CREATE OR REPLACE VIEW {view} AS SELECT recorded_at AS valid_from,"
            " LEAD(recorded_at) OVER (PARTITION BY id ORDER BY recorded_at) AS valid_to,"
            f" change_type, {names} FROM {self._history}"
        )
