"""What the destination has stored of one table, read while no load is in progress."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from datetime import date, datetime
from typing import Any

import dlt
import pendulum
import pyarrow as pa
from dlt.common.schema.typing import TTableSchemaColumns
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.sql_client import SqlClientBase

from protime_source.decode.soft_delete import Row
from protime_source.decode.values import JsonText
from protime_source.errors import WarehouseError
from protime_source.warehouse import merge
from protime_source.warehouse.dialect import Client, column_names, dialect_of
from protime_source.warehouse.history import history_name
from protime_source.warehouse.seen_ids import SeenIds

IDS_PER_QUERY = 20_000
"""Ids in one `IN` list: far below BigQuery's megabyte of SQL."""

MAX_ROWS_READ_PER_ID = 4
"""A range of ids is read instead of an `IN` list unless it is sparser than this."""


class StoredTable:
    """One table of a pipeline's destination.

    Args:
        pipeline: The pipeline that loads it.
        client: A client of its destination.
        table_name: Its name.
        columns: dlt's columns of it.
        excluded: Columns that are no longer to be loaded.
        is_emptied: Whether the load in preparation empties or drops it first.
        has_history: Whether its versions are recorded.

    Attributes:
        column_names: All columns that the table has; none while it does not exist.

    Raises:
        WarehouseError: When the destination cannot be used.
    """

    def __init__(
        self,
        pipeline: dlt.Pipeline,
        client: Client,
        table_name: str,
        columns: TTableSchemaColumns,
        *,
        excluded: Set[str],
        is_emptied: bool,
        has_history: bool,
    ) -> None:
        self._client = client
        self._is_emptied = is_emptied
        self._has_history = has_history
        self.dialect = dialect_of(pipeline)
        with client.sql_client as sql:
            self.name, self.staging_name = sql.get_qualified_table_names(table_name)
            self._history = sql.make_qualified_table_name(history_name(table_name))
            self.column_names = names = tuple(column_names(sql, self.name))
            # A column that somebody added by hand is unknown to dlt, and a merge ignores it.
            kinds = {name: columns.get(name, {}).get("data_type") for name in names}
            self.types = {name: kind for name, kind in kinds.items() if kind is not None}
            self._excluded = [sql.escape_column_name(name) for name in names if name in excluded]
            self._quoted = sql.escape_column_name
            self._seen_ids = SeenIds(sql, self.dialect.types["text"], table_name)
            self._select = ", ".join(self._readable(sql, name) for name in self.types)

    @property
    def exists(self) -> bool:
        """Whether the table exists, and its rows stay."""
        return bool(self.types) and not self._is_emptied

    @property
    def fingerprint(self) -> str:
        """A hash that identifies this destination and dataset without naming them."""
        config = self._client.config
        location = f"{self.dialect.name}|{config.data_location()}|{config.fingerprint()}"
        identity = f"{location}|{self._client.sql_client.dataset_name}"
        return hashlib.sha256(identity.encode()).hexdigest()[:16]

    def merge_filter(self, ignore_live_rows_before: datetime | None, *, has_version: bool) -> str:
        """Returns the condition on staged rows, see `merge.merge_filter`.

        Args:
            ignore_live_rows_before: Rejects live rows that were received before (UTC).
            has_version: Whether every record carries a version.
        """
        return merge.merge_filter(
            self.dialect,
            table=self.name,
            staging=self.staging_name,
            ignore_live_rows_before=ignore_live_rows_before,
            has_version=has_version,
            is_new_table=not self.exists,
        )

    def rows(self, ids: Sequence[int]) -> dict[int, Row]:
        """Returns the last-known rows of some ids, as the record decoder makes them.

        Args:
            ids: Ids to look up; ids that are not stored are left out.
        """
        return {
            row["id"]: row for chunk in _chunks(ids) for row in self._rows(f"WHERE id IN ({chunk})")
        }

    def all_rows(self) -> dict[Any, Row]:
        """Returns all rows by id: for collections without a delta, which are small."""
        return {row["id"]: row for row in self._rows("")} if self.exists else {}

    def columns(self, ids: pa.Array, schema: pa.Schema) -> pa.Table:
        """Returns columns of the stored rows among some ids, and of a few others.

        Args:
            ids: Ids to look up.
            schema: The columns; one that the table lacks is empty.
        """
        fields = [pa.field(each.name, each.type) for each in schema if each.name in self.types]
        stored = pa.schema(fields)
        parts = [stored.empty_table()]
        with self._client.sql_client as client:
            select = ", ".join(self._readable(client, name) for name in stored.names)
            for condition in _conditions(ids.to_pylist()):
                query = f"SELECT {select} FROM {self.name} WHERE {condition}"
                parts.append(self.dialect.read_arrow(client, query, stored))
        found = pa.concat_tables(parts)
        for field in schema:
            if field.name not in self.types:
                found = found.append_column(field.name, pa.nulls(found.num_rows, field.type))
        return found.select(schema.names)

    def lacks(self, names: Iterable[str]) -> bool:
        """Whether the table lacks one of some columns."""
        return not self.types.keys() >= set(names)

    def is_empty(self) -> bool:
        """Whether the table has no rows."""
        return not self._query(f"SELECT 1 FROM {self.name} LIMIT 1")

    @property
    def has_excluded_columns(self) -> bool:
        """Whether the table has columns that are no longer to be loaded."""
        return self.exists and bool(self._excluded)

    def clear_excluded_columns(self, synced_at: datetime) -> None:
        """Empties the columns that are no longer to be loaded, in all rows and their history.

        Args:
            synced_at: The `synced_at` of the rows that are changed (UTC).
        """
        self._clear(self.name, self._excluded, "synced_at = %s", synced_at)
        with self._client.sql_client as sql:
            names = [sql.escape_column_name(name) for name in column_names(sql, self._history)]
        if recorded := [name for name in names if name in self._excluded]:
            self._clear(self._history, recorded)

    def _clear(self, table: str, names: Sequence[str], also: str = "", *values: object) -> None:
        emptied = ", ".join([*(f"{name} = NULL" for name in names), *filter(None, [also])])
        filled = " OR ".join(f"{name} IS NOT NULL" for name in names)
        self._query(f"UPDATE {table} SET {emptied} WHERE {filled}", *values)

    def count_live_rows(self, date_column: str, start: date | None) -> int:
        """Returns how many live rows there are from a day on, undated ones too, or in all."""
        if not self.exists:
            return 0
        condition = self._live_rows_from(date_column, start, with_undated=True)
        return int(self._query(f"SELECT COUNT(*) FROM {self.name} WHERE {condition}")[0][0])

    def live_ids(self, date_column: str, start: date | None, *, with_undated: bool) -> pa.Array:
        """Returns the ids of live rows from a day on, or of all; of undated rows if wanted."""
        condition = self._live_rows_from(date_column, start, with_undated=with_undated)
        schema = pa.schema([("id", pa.int64())])
        with self._client.sql_client as client:
            query = f"SELECT id FROM {self.name} WHERE {condition}"
            return self.dialect.read_arrow(client, query, schema)["id"].combine_chunks()

    def add_seen_ids(self, seen_ids: str, ids: pa.Array) -> str:
        """Keeps the ids that a part of a full load has shown, see `SeenIds.add`."""
        return self._seen_ids.add(seen_ids, ids)

    def seen_ids(self, seen_ids: str) -> pa.Array:
        """Returns the ids that the parts of a full load have shown, see `SeenIds.read`."""
        return self._seen_ids.read(seen_ids)

    def forget_seen_ids(self) -> None:
        """Removes the ids of all full loads of this table, which are complete."""
        self._seen_ids.forget()

    def last_synced_at(self) -> datetime | None:
        """Returns when the newest row was synced (UTC); `None` when there is none.

        A row that is recorded counts also when its table was emptied or dropped since.
        """
        found = [
            self._newest("synced_at", self.name) if self.exists else None,
            self._newest("recorded_at", self._history) if self._has_history else None,
        ]
        return max(filter(None, found), default=None)

    def _newest(self, column: str, table: str) -> datetime | None:
        try:
            newest = self._query(f"SELECT MAX({column}) FROM {table}")[0][0]
        except DatabaseUndefinedRelation:
            return None
        return newest if newest is None else pendulum.instance(newest)

    def _rows(self, condition: str) -> Iterator[Row]:
        for values in self._query(f"SELECT {self._select} FROM {self.name} {condition}"):
            yield {
                column: self._plain(column, value)
                for column, value in zip(self.types, values, strict=True)
            }

    def _live_rows_from(self, date_column: str, start: date | None, *, with_undated: bool) -> str:
        """The condition for the live rows that a full load can show."""
        if start is None:
            return "NOT is_deleted"
        name = self._quoted(date_column)
        undated = f" OR {name} IS NULL" if with_undated else ""
        return f"NOT is_deleted AND ({name} >= DATE '{start.isoformat()}'{undated})"

    def _readable(self, client: SqlClientBase[Any], column: str) -> str:
        """JSON as its text, also where dlt's type is text because it first loaded elsewhere."""
        name = client.escape_column_name(column)
        return self.dialect.json_text(name) if self.types[column] in ("json", "text") else name

    def _plain(self, column: str, value: Any) -> Any:
        if value is None:
            return None
        match self.types[column]:
            case "json":
                return JsonText(value)
            case "date":
                return value.isoformat()
        return value

    def _query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Bypasses dlt's `dataset()`, which parses and rewrites every statement."""
        with self._client.sql_client as client:
            return [tuple(row) for row in client.execute_sql(sql, *parameters) or ()]


def refuse_pending(pipeline: dlt.Pipeline) -> None:
    """Refuses a pipeline whose tables do not show all that it has fetched.

    Raises:
        WarehouseError: When a load package is not loaded yet.
    """
    if pipeline.has_pending_data:
        raise WarehouseError(
            "The pipeline has load packages that are not loaded yet, so its tables do not show what"
            " has been fetched. Nothing was changed. Load them first: run the pipeline without new"
            " data."
        )


def count_live(client: SqlClientBase[Any], table_names: Sequence[str]) -> dict[str, int]:
    """Returns how many live rows each of some loaded tables has, with one query."""
    if not table_names:
        return {}
    counts = [
        f"SELECT '{table_name}', COUNT(*) FROM {client.make_qualified_table_name(table_name)}"
        " WHERE NOT is_deleted"
        for table_name in table_names
    ]
    with client:
        found: Any = client.execute_sql(" UNION ALL ".join(counts)) or ()
        return dict(found)


def count_rows(client: Client, table_names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Returns how many live and soft-deleted rows those of some tables have that exist."""
    sql = client.sql_client
    with sql:
        found = dict(client.get_storage_tables(table_names))
        counts = [
            f"SELECT '{name}', COUNT(*), COALESCE(SUM(CASE WHEN is_deleted THEN 1 ELSE 0 END), 0)"
            f" FROM {sql.make_qualified_table_name(name)}"
            for name, columns in found.items()
            if "is_deleted" in columns
        ]
        rows: Any = sql.execute_sql(" UNION ALL ".join(counts)) if counts else ()
    return {name: (int(total - deleted), int(deleted)) for name, total, deleted in rows or ()}


def _conditions(ids: Sequence[int]) -> Iterator[str]:
    """Conditions for some ids: a range where they are dense, which is ten times as fast."""
    if not ids:
        return
    first, last = min(ids), max(ids)
    if last - first < MAX_ROWS_READ_PER_ID * len(ids):
        yield f"id BETWEEN {first} AND {last}"
    else:
        yield from (f"id IN ({chunk})" for chunk in _chunks(ids))


def _chunks(ids: Sequence[int]) -> Iterator[str]:
    for first in range(0, len(ids), IDS_PER_QUERY):
        yield ", ".join(map(str, ids[first : first + IDS_PER_QUERY]))


def sync_again(
    client: Client,
    table_name: str,
    since: datetime | None,
    after: Callable[[datetime | None], datetime],
) -> None:
    """Gives the rows of a table that were synced after a time a new `synced_at`, later than any.

    Args:
        client: A client of the destination.
        table_name: The table; it may be missing.
        since: The time (UTC); `None` for all rows.
        after: Returns the time to give, later than the newest one.

    Raises:
        DestinationException: When the destination refuses.
    """
    with client.sql_client as sql:
        table = sql.make_qualified_table_name(table_name)
        condition, since_when = ("synced_at > %s", [since]) if since else ("TRUE", [])
        try:
            newest: Any = sql.execute_sql(
                f"SELECT MAX(synced_at) FROM {table} WHERE {condition}", *since_when
            )
        except DatabaseUndefinedRelation:
            return
        if newest and newest[0][0] is not None:
            moment = after(pendulum.instance(newest[0][0]))
            sql.execute_sql(
                f"UPDATE {table} SET synced_at = %s WHERE {condition}", moment, *since_when
            )
