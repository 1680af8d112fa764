"""The ids that a full load in parts has shown so far, kept in the warehouse between its parts.

Each part adds rows that name the row before them; the bookmark names the last one. So a part that
was never committed changes nothing, although its rows are written at once.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any
from uuid import uuid4

import pyarrow as pa
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.sql_client import SqlClientBase

from protime_source.decode import compute as pc
from protime_source.errors import IncompleteFullLoadError
from protime_source.warehouse.dialect import column_names

TABLE = "sync_seen_ids"

_COLUMNS = ("collection", "seen_key", "previous_key", "ids")

IDS_PER_ROW = 500_000
"""Ids in one row: dense ids take a byte each, so that a row stays far below BigQuery's limit."""


class SeenIds:
    """The seen ids of one collection.

    Args:
        client: A client of the destination; opened and closed by each call.
        text_type: The engine's SQL type of text.
        table_name: The collection's table.
    """

    def __init__(self, client: SqlClientBase[Any], text_type: str, table_name: str) -> None:
        self._client = client
        self._text_type = text_type
        self._table_name = table_name
        self._name = client.make_qualified_table_name(TABLE)

    def add(self, last: str, ids: pa.Array) -> str:
        """Adds ids.

        Args:
            last: The key that names those added before; empty when there are none.
            ids: The ids to add, in any order.

        Returns:
            The key that names all of them.
        """
        ids = ids.unique().sort()
        with self._client as client:
            self._create(client)
            for first in range(0, max(len(ids), 1), IDS_PER_ROW):
                key = uuid4().hex
                row = self._table_name, key, last, _packed(ids[first : first + IDS_PER_ROW])
                insert = f"INSERT INTO {self._name} ({', '.join(_COLUMNS)}) VALUES (%s, %s, %s, %s)"
                try:
                    client.execute_sql(insert, *row)
                except DatabaseException:
                    if not self._drop_if_broken(client):
                        raise
                    self._create(client)
                    client.execute_sql(insert, *row)
                last = key
        return last

    def _create(self, client: SqlClientBase[Any]) -> None:
        definitions = ", ".join(f"{column} {self._text_type}" for column in _COLUMNS)
        client.execute_sql(f"CREATE TABLE IF NOT EXISTS {self._name} ({definitions})")

    def _drop_if_broken(self, client: SqlClientBase[Any]) -> bool:
        """Drops the table if it is missing or lacks a column; returns whether it was."""
        is_broken = not {*_COLUMNS} <= {*column_names(client, self._name)}
        if is_broken:
            client.execute_sql(f"DROP TABLE IF EXISTS {self._name}")
        return is_broken

    def read(self, last: str) -> pa.Array:
        """Returns all ids that a key names.

        Raises:
            IncompleteFullLoadError: When some are no longer there.
        """
        query = f"SELECT seen_key, previous_key, ids FROM {self._name} WHERE collection = %s"
        with self._client as client:
            try:
                found = client.execute_sql(query, self._table_name) or ()
            except DatabaseException:
                if not self._drop_if_broken(client):
                    raise
                found = ()
        rows = {key: (previous, ids) for key, previous, ids in found}
        parts = []
        while last:
            if last not in rows:
                raise IncompleteFullLoadError(
                    f"The table {TABLE} no longer has what the first parts of this full load"
                    " showed, so it cannot tell which rows vanished."
                )
            last, ids = rows[last]
            parts.append(_unpacked(ids))
        return pa.concat_arrays(parts)

    def forget(self) -> None:
        """Removes all ids of the collection."""
        with self._client as client:
            try:
                client.execute_sql(
                    f"DELETE FROM {self._name} WHERE collection = %s", self._table_name
                )
            except DatabaseException:
                if not self._drop_if_broken(client):
                    raise


def _packed(ids: pa.Array) -> str:
    """Sorted ids as text: the differences between them, compressed."""
    differences = pc.fill_null(pc.pairwise_diff(ids), ids[0] if len(ids) else 0)
    return base64.b64encode(zlib.compress(_bytes(differences), 1)).decode()


def _unpacked(text: str) -> pa.Array:
    data = zlib.decompress(base64.b64decode(text))
    differences = pa.Array.from_buffers(pa.int64(), len(data) // 8, [None, pa.py_buffer(data)])
    return pc.cumulative_sum(differences)


def _bytes(numbers: pa.Array) -> bytes:
    data: bytes = pa.concat_arrays([numbers]).buffers()[1].to_pybytes()
    return data[: 8 * len(numbers)]
