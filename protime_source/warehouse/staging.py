"""What a load package puts into the staging tables, and what they hold.

dlt empties a staging table once for a package and copies its rows there once. A second run on the
dataset may have used the table since: later, while the package was pending, or at the same time, if
the lock between the two was lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pendulum
import pyarrow as pa
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.sql_client import SqlClientBase

from protime_source.decode import compute as pc
from protime_source.warehouse.dialect import Client, column_names


@dataclass
class StagedRows:
    """Rows in a staging table.

    Attributes:
        count: How many.
        first: The lowest `synced_at` of them (UTC).
        last: The highest.
    """

    count: int = 0
    first: datetime | None = None
    last: datetime | None = None

    @classmethod
    def from_json(cls, stored: Sequence[Any]) -> StagedRows:
        """Reads what `to_json` returned."""
        count, *moments = stored
        return cls(count, *(text and datetime.fromisoformat(text) for text in moments))

    def to_json(self) -> list[Any]:
        """Returns it as JSON has it."""
        return [self.count, *(each and each.isoformat() for each in (self.first, self.last))]

    def add(self, batch: pa.Table) -> None:
        """Adds the rows of a batch."""
        if batch.num_rows:
            found = pc.min_max(batch["synced_at"]).as_py()
            self.count += batch.num_rows
            self.first = min(self.first or found["min"], found["min"])
            self.last = max(self.last or found["max"], found["max"])

    def may_be(self, held: StagedRows, *, whole: bool) -> bool:
        """Whether a staging table that holds some rows may hold these.

        Args:
            held: What the table holds; a copy that was repeated after a crash counts twice.
            whole: Whether all of these were copied, or only some files of them.
        """
        if not (self.first and self.last and held.first and held.last):
            return self.count == 0
        if whole:
            return (held.first, held.last) == (self.first, self.last) and held.count >= self.count
        return self.first <= held.first and held.last <= self.last


def read_staged_rows(client: Client, table_names: Collection[str]) -> dict[str, StagedRows]:
    """Returns what the staging tables of some tables hold, but for those that are not whole.

    Raises:
        DestinationException: When the destination refuses.
    """
    sql = client.sql_client
    with sql, sql.with_staging_dataset():
        tables = {name: sql.make_qualified_table_name(name) for name in table_names}
        try:
            rows = _count(sql, tables)
        except DatabaseException:
            whole = {
                n: table for n, table in tables.items() if "synced_at" in column_names(sql, table)
            }
            if len(whole) == len(tables):
                raise
            rows = _count(sql, whole)
    return {
        name: StagedRows(count, *(each and pendulum.instance(each) for each in moments))
        for name, count, *moments in rows
    }


def _count(sql: SqlClientBase[Any], tables: Mapping[str, str]) -> Sequence[Any]:
    """Name, number of rows, lowest and highest `synced_at` of each table."""
    counts = [
        f"SELECT '{name}', COUNT(*), MIN(synced_at), MAX(synced_at) FROM {table}"
        for name, table in tables.items()
    ]
    return (sql.execute_sql(" UNION ALL ".join(counts)) or ()) if counts else ()


def holds(
    staged: Mapping[str, StagedRows], held: Mapping[str, StagedRows], whole: Mapping[str, bool]
) -> bool:
    """Whether staging tables may hold the rows of a package.

    Args:
        staged: The rows of the package, by table.
        held: What the staging tables hold.
        whole: The tables to look at, and whether all of the package's rows were copied.
    """
    return all(
        staged[name].may_be(held.get(name, StagedRows()), whole=is_whole)
        for name, is_whole in whole.items()
    )


def holds_others(staged: Mapping[str, StagedRows], held: Mapping[str, StagedRows]) -> bool:
    """Whether staging tables hold anything but what was put there last, as far as is known.

    Args:
        staged: The rows that were put there last, by table.
        held: What the staging tables hold.
    """
    return any(
        not rows.may_be(found, whole=True) if rows.count else bool(found.count)
        for rows, found in ((staged[name], found) for name, found in held.items())
    )


def empty_staging_tables(client: Client, table_names: Collection[str]) -> None:
    """Empties the staging tables of some tables, which exist.

    Raises:
        DestinationException: When the destination refuses.
    """
    sql = client.sql_client
    with sql, sql.with_staging_dataset():
        sql.truncate_tables(*table_names)


def drop_staging_tables(client: Client, table_names: Collection[str]) -> None:
    """Drops the staging tables of some tables, as far as they exist.

    Raises:
        DestinationException: When the destination refuses.
    """
    sql = client.sql_client
    with sql, sql.with_staging_dataset():
        sql.drop_tables(*table_names)
