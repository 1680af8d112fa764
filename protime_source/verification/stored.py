"""The live rows of a table: their ids and versions, read in batches."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa

from protime_source.catalogue.model import Collection
from protime_source.decode import arrow
from protime_source.warehouse.dialect import Client
from protime_source.warehouse.table import StoredTable

ROWS_PER_QUERY = 200_000
"""Rows that a driver holds at once, because that of Postgres fetches a whole result."""


class LiveRows:
    """The live rows of one table.

    Args:
        client: A client of the destination.
        stored: The table.
        collection: The collection that it holds.
        start: First day to compare; `None` for a collection without dates.
    """

    def __init__(
        self, client: Client, stored: StoredTable, collection: Collection, start: date | None
    ) -> None:
        self._client = client
        self._stored = stored
        self._collection = collection
        self._inside, self._values = self._window(start)
        self._date = client.sql_client.escape_column_name(collection.date_column or "id")

    def years(self) -> set[int]:
        """Returns the years that hold live rows; none without dates."""
        if not self._stored.exists or not self._collection.date_column:
            return set()
        query = f"SELECT DISTINCT EXTRACT(YEAR FROM {self._date}) FROM {self._live}"
        return {int(year) for (year,) in self._query(query) if year is not None}

    def read(self) -> pa.Table:
        """Returns `id`, `change_version` and `inside`: whether a list must show the row."""
        parts = [self._table([])]
        after, last = "", list[object]()
        while self._stored.exists:
            rows = self._query(
                f"SELECT id, change_version, {self._inside} FROM {self._live}{after}"
                f" ORDER BY id LIMIT {ROWS_PER_QUERY}",
                *self._values,
                *last,
            )
            parts.append(self._table(rows))
            if len(rows) < ROWS_PER_QUERY:
                break
            after, last = " AND id > %s", [rows[-1][0]]
        return pa.concat_tables(parts).combine_chunks()

    @property
    def _live(self) -> str:
        return f"{self._stored.name} WHERE NOT is_deleted"

    def _window(self, start: date | None) -> tuple[str, list[object]]:
        """The condition for rows that the lists show, and its values."""
        quoted = self._client.sql_client.escape_column_name
        if start is not None:
            condition = f"{quoted(self._collection.date_column)} >= %s"
            return f"COALESCE({condition}, FALSE)", [start]
        if not self._collection.needs_structure:
            return "TRUE", []
        groups = [
            " AND ".join(f"{quoted(name)} = %s" for name in parameters)
            for parameters in self._collection.path_parameters
        ]
        values = [v for parameters in self._collection.path_parameters for v in parameters.values()]
        return f"COALESCE({' OR '.join(groups)}, FALSE)", values

    def _table(self, rows: list[tuple[Any, ...]]) -> pa.Table:
        ids, versions, inside = zip(*rows, strict=True) if rows else ((), (), ())
        return pa.table(
            {
                "id": pa.array(ids, arrow.TYPES[self._collection.id_type]),
                "change_version": pa.array(versions, pa.string()),
                "inside": pa.array(inside, pa.bool_()),
            }
        )

    def _query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self._client.sql_client as client:
            return [tuple(row) for row in client.execute_sql(sql, *parameters) or ()]
