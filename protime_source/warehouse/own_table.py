"""A table of this package's own in the dataset, beside those that dlt loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.sql_client import SqlClientBase

from protime_source.warehouse.dialect import Client, Dialect, column_names

ColumnType = Literal["text", "bigint", "timestamp"]

Columns = Mapping[str, tuple[ColumnType, str]]
"""Columns: dlt's data type, and what they mean."""

Entry = Mapping[str, Any]
"""The values of one row by column; those that are missing are empty."""


class OwnTable:
    """A table that plain SQL creates, fills and asks.

    Args:
        client: A client of the destination; opened and closed by each call.
        dialect: The destination's.

    Attributes:
        table: Its name.
        columns: Its columns.
    """

    table: ClassVar[str]
    columns: ClassVar[Columns]

    def __init__(self, client: Client, dialect: Dialect) -> None:
        self._sql = client.sql_client
        self._dialect = dialect
        self._name = self._sql.make_qualified_table_name(self.table)

    def _create(self, client: SqlClientBase[Any]) -> None:
        """Creates the dataset and the table, unless they exist."""
        if not client.has_dataset():
            client.create_dataset()
        columns = ", ".join(
            f"{name} {self._type(kind)}" for name, (kind, _) in self.columns.items()
        )
        client.execute_sql(f"CREATE TABLE IF NOT EXISTS {self._name} ({columns})")

    def _insert(self, client: SqlClientBase[Any], entries: Sequence[Entry]) -> None:
        """Adds rows, with one statement, and before that the columns that the table lacks."""
        try:
            self._insert_all(client, entries)
        except DatabaseException:
            if not self._add_columns(client):
                raise
            self._insert_all(client, entries)

    def _insert_all(self, client: SqlClientBase[Any], entries: Sequence[Entry]) -> None:
        rows = (
            f"({', '.join('%s' if entry.get(c) is not None else 'NULL' for c in self.columns)})"
            for entry in entries
        )
        client.execute_sql(
            f"INSERT INTO {self._name} ({', '.join(self.columns)}) VALUES {', '.join(rows)}",
            *(e[name] for e in entries for name in self.columns if e.get(name) is not None),
        )

    def _add_columns(self, client: SqlClientBase[Any]) -> bool:
        """Adds the columns that the table lacks, if it is ours; returns whether it did.

        Another version may have created it, or a hand taken them. It is ours if it has most columns
        of ours. Only what fails leads here: a query for the columns would cost BigQuery a second in
        each run.
        """
        known = column_names(client, self._name)
        missing = [name for name in self.columns if name not in known]
        if 2 * len(missing) > len(self.columns):
            return False
        for name in missing:
            kind = self._type(self.columns[name][0])
            client.execute_sql(f"ALTER TABLE {self._name} ADD COLUMN {name} {kind}")
        return bool(missing)

    def _update(
        self, client: SqlClientBase[Any], entries: Sequence[Entry], keys: Sequence[str]
    ) -> None:
        """Changes rows, with one statement.

        Args:
            client: An open client.
            entries: Their values; all with the same columns.
            keys: The columns that tell which row an entry is for.
        """
        names = [name for name in self.columns if name in entries[0]]
        rows = " UNION ALL ".join(
            "SELECT " + ", ".join(self._typed(name, entry[name]) for name in names)
            for entry in entries
        )
        changes = ", ".join(f"{name} = v.{name}" for name in names if name not in keys)
        same = " AND ".join(f"r.{name} = v.{name}" for name in keys)
        client.execute_sql(
            f"UPDATE {self._name} AS r SET {changes} FROM ({rows}) AS v WHERE {same}",
            *(e[name] for e in entries for name in names if e[name] is not None),
        )

    def _read(self, query: str, *parameters: object) -> list[Entry]:
        """The result of a query for all columns of `{rows}`; one that is missing is empty."""
        with self._sql as client:
            if not (known := column_names(client, self._name)):
                return []
            columns = (c if c in known else self._typed(c, None) for c in self.columns)
            text = query.format(rows=f"(SELECT {', '.join(columns)} FROM {self._name})")
            rows = client.execute_sql(text, *parameters) or ()
        return [dict(zip(self.columns, row, strict=True)) for row in rows]

    def _typed(self, name: str, value: object) -> str:
        """A value with its type. BigQuery's client takes no parameter without a value."""
        placeholder = "NULL" if value is None else "%s"
        return f"CAST({placeholder} AS {self._type(self.columns[name][0])}) AS {name}"

    def _type(self, kind: ColumnType) -> str:
        return self._dialect.timestamp_type if kind == "timestamp" else self._dialect.types[kind]
