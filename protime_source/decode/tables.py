"""Rows of a collection as Arrow tables, by its columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from protime_source.catalogue.model import Collection
from protime_source.decode import arrow
from protime_source.decode.soft_delete import LIVE, NOT_NULL, SYNC_COLUMNS, Row
from protime_source.decode.values import JsonText, is_date

ROWS_PER_GROUP = 122_880
"""Rows of a table that is made of several: DuckDB's row group, which each core copies one of. Rows
beside whole groups it would write again when it closes, for half of the copy's time."""

ROWS_PER_BATCH = 50_000
"""Rows of a table that is not made of pages: about as large."""

_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (int, "bigint"),
    (float, "double"),
    (JsonText, "json"),
    (str, "text"),
    (datetime, "timestamp"),
)


class BatchBuilder:
    """Builds the Arrow tables of one load.

    Args:
        collection: Whose rows.
        decoder: Decodes its pages.
        undocumented: dlt data types of the columns that the warehouse has beyond the documented.
        json_type: dlt's data type for JSON at the destination.

    Attributes:
        undocumented: The same, with what was met since.
    """

    def __init__(
        self,
        collection: Collection,
        undocumented: Mapping[str, str],
        json_type: str = "json",
    ) -> None:
        self._kinds = {python: json_type if kind == "json" else kind for python, kind in _KINDS}
        self.undocumented = dict(undocumented)
        documented = [
            pa.field(column.name, arrow.TYPES[column.type], column.name not in NOT_NULL)
            for column in collection.columns
        ]
        marks = [
            pa.field(name, arrow.TYPES[str(mark["data_type"])], mark["nullable"])
            for name, mark in SYNC_COLUMNS.items()
        ]
        self.schema = pa.schema(documented + marks)
        self._known = frozenset(self.schema.names)

    def from_rows(self, rows: Sequence[Row]) -> pa.Table:
        """Any rows, complete with their marks, undocumented columns at the end."""
        arrays = [
            arrow.array([row.get(field.name) for row in rows], field.type) for field in self.schema
        ]
        table = pa.table(arrays, schema=self.schema)
        for name, values in self._undocumented_columns(rows).items():
            # None for a column that a map of somebody's has added.
            kind = arrow.TYPES.get(self.undocumented[name])
            table = table.append_column(name, arrow.array(values, kind))
        return table

    def stored(self, row: Row) -> Row:
        """A row by the columns that its values go to."""
        return {
            name if name in self._known else self._column_for(name, value): value
            for name, value in row.items()
            if value is not None
        }

    def plain_rows(self, table: pa.Table) -> list[Row]:
        """The rows of a table as the record decoder gives them."""
        kept = [name for name in table.column_names if name not in SYNC_COLUMNS]
        kinds = self.undocumented
        return [
            {name: _plain(value, kinds.get(name)) for name, value in row.items()}
            for row in table.select(kept).to_pylist()
        ]

    def from_columns(self, table: pa.Table, synced_at: datetime) -> pa.Table:
        arrays = [
            pa.repeat(pa.scalar(LIVE.get(field.name, synced_at), field.type), table.num_rows)
            if field.name in SYNC_COLUMNS
            else table[field.name]
            for field in self.schema
        ]
        return pa.table(arrays, schema=self.schema)

    def _undocumented_columns(self, rows: Sequence[Row]) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for index, row in enumerate(rows):
            for name in sorted(row.keys() - self._known):
                if (value := row[name]) is not None:
                    column = self._column_for(name, value)
                    found.setdefault(column, [None] * len(rows))[index] = value
        return found

    def _column_for(self, name: str, value: object) -> str:
        """The column that can hold the value: where types differ, dlt's variant column."""
        kinds = (kind for python, kind in self._kinds.items() if isinstance(value, python))
        if (kind := next(kinds, None)) is None:
            return name  # of no type that JSON has: it comes from the warehouse
        known = self.undocumented.setdefault(name, kind)
        if kind == known or _fits(value, known):
            return name
        variant = f"{name}__v_{kind}"
        self.undocumented[variant] = kind
        return variant


def rechunk(tables: Iterable[pa.Table | None]) -> Iterator[pa.Table | None]:
    """Small tables as large ones: Parquet's row groups are as large as the tables dlt is given.

    Args:
        tables: Where to take from; a `None` is passed on at once.

    Yields:
        Tables of whole groups of `ROWS_PER_GROUP`; the rest before a change of columns and at the
        end.
    """
    waiting: list[pa.Table] = []
    for table in tables:
        if table is None:
            yield None
            continue
        if waiting and table.schema != waiting[0].schema:
            yield pa.concat_tables(waiting)
            waiting = []
        waiting.append(table)
        rows = sum(each.num_rows for each in waiting)
        if whole_groups := rows - rows % ROWS_PER_GROUP:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, whole_groups)
            waiting = [whole.slice(whole_groups)]
    if waiting:
        yield pa.concat_tables(waiting)


def _plain(value: Any, kind: str | None) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return JsonText(value) if kind == "json" and value is not None else value


def _fits(value: object, kind: str) -> bool:
    """Whether a column of another type than the value's own holds it just as well."""
    if kind == "double":
        return type(value) is int and int(float(value)) == value
    return kind == "date" and isinstance(value, str) and is_date(value)
