"""What the destination holds of one table, read while nothing is on its way there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence, Set
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
from protime_source.warehouse.dialect import Client, dialect_of

IDS_PER_QUERY = 20_000
"""Ids in one `IN` list: far below BigQuery's megabyte of SQL."""

SPARSE = 4
"""Rows that are read in vain for each one that is wanted, at most."""


class StoredTable:
    """One table of a pipeline's destination.

    Args:
        pipeline: The pipeline that loads it.
        client: A client of its destination.
        table: Its name.
        columns: dlt's columns of it.
        hidden: Columns that are not to be loaded any more.
        is_emptied: Whether the load to come empties it first.

    Raises:
        WarehouseError: When the destination cannot be used.
    """

    def __init__(
        self,
        pipeline: dlt.Pipeline,
        client: Client,
        table: str,
        columns: TTableSchemaColumns,
        *,
        excluded: Set[str],
        is_emptied: bool,
    ) -> None:
        self._client = client
        self._is_emptied = is_emptied
        self.dialect = dialect_of(pipeline)
        self.dialect.check(client)
        if pipeline.has_pending_data:
            raise WarehouseError(
                "The pipeline has load packages that are not loaded yet, so the table does not"
                " show where it stands. Load them first: run the pipeline without new data."
            )
        with client.sql_client as sql:
            self.name, self.staging_name = sql.get_qualified_table_names(table)
            names = _columns(sql, self.name)
            # A column that somebody added by hand is not dlt's: a merge leaves it alone, as we do.
            kinds = {name: columns.get(name, {}).get("data_type") for name in names}
            self.types = {name: kind for name, kind in kinds.items() if kind is not None}
            self._hidden = [sql.escape_column_name(name) for name in names if name in excluded]
            self._quoted = sql.escape_column_name
            self._select = ", ".join(self._readable(sql, name) for name in self.types)

    @property
    def exists(self) -> bool:
        """Whether the table is there, and stays."""
        return bool(self.types) and not self._is_emptied

    @property
    def fingerprint(self) -> str:
        """Tells this destination and dataset from any other, without naming them."""
        config = self._client.config
        place = f"{self.dialect.name}|{config.data_location()}|{config.fingerprint()}"
        identity = f"{place}|{self._client.sql_client.dataset_name}"
        return hashlib.sha256(identity.encode()).hexdigest()[:16]

    def merge_filter(
        self,
        since: datetime | None,
        *,
        has_version: bool,
    ) -> str:
        """The condition on staged rows that makes dlt's one MERGE statement safe to repeat.

        At once stale guard (never an older version over a newer one), deduplication (also of a
        staging load that was repeated after a crash), and ghost filter (no delete of an id that
        was never held). An equal version is applied again: it is the same record, or a walk that
        shows alive what an earlier run had to mark.

        Args:
            since: Live rows received before (UTC) are left out: they come from a walk that was
                begun anew within the load, and may be gone since.
            foreign_until: Held rows received before (UTC) are another tenant's; any version is
                newer than theirs.
            has_version: Whether all its records carry a version.
        """
        key, version = self.dialect.row_key, self.dialect.version
        valid = (
            f"s.is_deleted OR s.synced_at >= {self.dialect.timestamp(since)}" if since else "TRUE"
        )
        # Where a record may come without a version, what came later counts.
        newer = "v >= held" if has_version else "held IS NOT NULL AND (v = '' OR v >= held)"
        held_at = ""
        foreign_until = None
        if foreign_until:
            held_at = ", d.synced_at AS held_at"
            newer += f" OR held_at < {self.dialect.timestamp(foreign_until)}"
        return (
            f"{key(self.staging_name)} IN (SELECT k FROM ("
            f"SELECT {key('s')} AS k, {version('s')} AS v, s.is_deleted AS gone,"
            f" {version('d')} AS held{held_at}, ROW_NUMBER() OVER (PARTITION BY s.id"
            f" ORDER BY {version('s')} DESC, s.synced_at DESC) AS n"
            f" FROM {self.staging_name} s LEFT JOIN {self.name} d ON d.id = s.id"
            f" WHERE {valid}) candidates WHERE n = 1 AND"
            f" ((held IS NULL AND NOT gone) OR {newer}))"
        )

    def history_filter(self, table: str) -> str:
        """The condition that adds each event to a log once, also when it is staged again."""
        with self._client.sql_client as sql:
            name, staging = sql.get_qualified_table_names(table)
            is_there = bool(_columns(sql, name))
        # dlt looks for missing tables only when its schema has changed, and this text is in it: so
        # a log that somebody has dropped is created again.
        new = "" if is_there else f"/* created at {pendulum.now('UTC')} */ "

        def key(row: str) -> str:
            return self.dialect.row_key(row, ("event_id", "received_at"))

        return (
            f"{new}{key(staging)} IN (SELECT k FROM (SELECT {key('s')} AS k, ROW_NUMBER() OVER"
            " (PARTITION BY s.event_id ORDER BY s.received_at) AS n"
            f" FROM {staging} s LEFT JOIN {name} d ON d.event_id = s.event_id"
            " WHERE d.event_id IS NULL) candidates WHERE n = 1)"
        )

    def rows(self, ids: Sequence[int]) -> dict[int, Row]:
        """The last-known rows of some ids, as the record decoder would give them.

        Args:
            ids: Ids to look up; those the table does not hold are left out.
        """
        return {
            row["id"]: row for chunk in _chunks(ids) for row in self._rows(f"WHERE id IN ({chunk})")
        }

    def all_rows(self) -> dict[Any, Row]:
        """All rows by id: for collections without a delta, which are small."""
        return {row["id"]: row for row in self._rows("")} if self.exists else {}

    def _rows(self, condition: str) -> Iterator[Row]:
        for values in self._query(f"SELECT {self._select} FROM {self.name} {condition}"):
            yield {
                column: self._plain(column, value)
                for column, value in zip(self.types, values, strict=True)
            }

    def versions(
        self, ids: Sequence[int], since: datetime | None = None
    ) -> dict[int, tuple[str, bool]]:
        """Version and deletion mark of the held rows among some ids, and of a few others.

        Args:
            ids: Ids to look up.
            since: Leaves out rows received before (UTC).
        """
        received = f" AND synced_at >= {self.dialect.timestamp(since)}" if since else ""
        return {
            id_: (version, gone)
            for condition in _conditions(ids)
            for id_, version, gone in self._query(
                f"SELECT id, change_version, is_deleted FROM {self.name}"
                f" WHERE {condition}{received}"
            )
        }

    def ids_with_excluded_values(self) -> set[Any]:
        """Ids of the live rows that still hold what is not to be loaded any more."""
        if not self._hidden:
            return set()
        filled = " OR ".join(f"{name} IS NOT NULL" for name in self._hidden)
        query = f"SELECT id FROM {self.name} WHERE NOT is_deleted AND ({filled})"
        return {id_ for (id_,) in self._query(query)}

    def count_live_rows(self, date_column: str, start: date | None) -> int:
        """How many live rows there are from a date on, or in all."""
        if not self.exists:
            return 0
        condition, values = self._window(date_column, start)
        found = self._query(f"SELECT COUNT(*) FROM {self.name} WHERE {condition}", *values)
        return int(found[0][0])

    def ids_not_received_since(
        self, moment: datetime, date_column: str, start: date | None
    ) -> pa.Array:
        """Ids of the live rows from a date on that were last received before a moment (UTC)."""
        condition, values = self._window(date_column, start)
        query = f"SELECT id FROM {self.name} WHERE {condition} AND synced_at < %s"
        return pa.array([id_ for (id_,) in self._query(query, *values, moment)], pa.int64())

    def _window(self, date_column: str, start: date | None) -> tuple[str, list[object]]:
        """The live rows that a walk can show: condition and its values."""
        if start is None:
            return "NOT is_deleted", []
        return f"NOT is_deleted AND {self._quoted(date_column)} >= %s", [start]

    def has_rows_before(self, moment: datetime) -> bool:
        """Whether a row was last received before a moment (UTC)."""
        query = f"SELECT 1 FROM {self.name} WHERE synced_at < %s LIMIT 1"
        return self.exists and bool(self._query(query, moment))

    def last_synced_at(self) -> datetime | None:
        """When the newest row was received (UTC); `None` when there is none."""
        if not self.exists:
            return None
        newest = self._query(f"SELECT MAX(synced_at) FROM {self.name}")[0][0]
        return newest if newest is None else pendulum.instance(newest)

    def _readable(self, client: SqlClientBase[Any], column: str) -> str:
        """JSON as its text, also where dlt took the column for text when it loaded elsewhere."""
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
        """Bypasses dlt's `dataset()`: that parses and rewrites every statement."""
        with self._client.sql_client as client:
            return [tuple(row) for row in client.execute_sql(sql, *parameters) or ()]


def count_live(client: SqlClientBase[Any], tables: Sequence[str]) -> dict[str, int]:
    """How many live rows each of some loaded tables has, in one query."""
    if not tables:
        return {}
    counts = [
        f"SELECT '{table}', COUNT(*) FROM {client.make_qualified_table_name(table)}"
        " WHERE NOT is_deleted"
        for table in tables
    ]
    with client:
        found: Any = client.execute_sql(" UNION ALL ".join(counts)) or ()
        return dict(found)


def _columns(client: SqlClientBase[Any], name: str) -> list[str]:
    """The columns of a table; none when it is not there."""
    try:
        with client.execute_query(f"SELECT * FROM {name} WHERE FALSE LIMIT 0") as cursor:
            return [column[0] for column in cursor.description]
    except DatabaseUndefinedRelation:
        return []


def _conditions(ids: Sequence[int]) -> Iterator[str]:
    """Which rows to look at: a range where the ids are dense, ten times as fast as a list."""
    if not ids:
        return
    first, last = min(ids), max(ids)
    if last - first < SPARSE * len(ids):
        yield f"id BETWEEN {first} AND {last}"
    else:
        yield from (f"id IN ({chunk})" for chunk in _chunks(ids))


def _chunks(ids: Sequence[int]) -> Iterator[str]:
    for first in range(0, len(ids), IDS_PER_QUERY):
        yield ", ".join(map(str, ids[first : first + IDS_PER_QUERY]))
