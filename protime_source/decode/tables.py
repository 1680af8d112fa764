"""Arrow batches of a collection's rows, in the columns of its table."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import msgspec
import pyarrow as pa

from protime_source.catalogue.model import NOT_NULL, Collection
from protime_source.decode import arrow
from protime_source.decode.soft_delete import LIVE, SYNC_COLUMNS, Row
from protime_source.decode.values import JsonText, is_date

logger = logging.getLogger(__name__)

ROWS_PER_GROUP = 122_880
"""Rows of a batch made of several pages: DuckDB's row group, which one core copies at a time.
DuckDB writes rows outside whole groups again when it closes, for half of the copy's time."""

MAX_UNDOCUMENTED_COLUMNS = 300
"""Columns for fields that are not documented. Postgres holds 1,600 columns in all, and a load that
it refuses for that would be refused for ever."""

OTHER_FIELDS = "other_fields"
"""The json column of the undocumented fields beyond these."""

ROWS_PER_BATCH = 50_000
"""Rows of a batch that is not made of pages."""

_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (int, "bigint"),
    (float, "double"),
    (JsonText, "json"),
    (str, "text"),
    (datetime, "timestamp"),
)


class BatchBuilder:
    """Builds the Arrow batches of one load.

    Args:
        collection: The collection that the rows belong to.
        undocumented: dlt's data types of the columns that the warehouse has beyond the documented.
        json_type: dlt's data type for JSON at the destination.
        fields: Protime's names of the undocumented fields, by column.

    Attributes:
        schema: The documented columns, then the sync columns.
        undocumented: As given, with the undocumented columns that were met since.
    """

    def __init__(
        self,
        collection: Collection,
        undocumented: Mapping[str, str],
        json_type: str = "json",
        fields: Mapping[str, str] | None = None,
    ) -> None:
        self._types = {python: json_type if type_ == "json" else type_ for python, type_ in _TYPES}
        self.undocumented = dict(undocumented)
        self._fields = {} if fields is None else fields
        documented = [
            pa.field(column.name, arrow.TYPES[column.type], column.name not in NOT_NULL)
            for column in collection.columns
        ]
        sync_columns = [
            pa.field(name, arrow.TYPES[hints["data_type"]], hints["nullable"])
            for name, hints in SYNC_COLUMNS.items()
        ]
        self.schema = pa.schema(documented + sync_columns)
        self._known = frozenset(self.schema.names)
        self._table_name = collection.table

    def from_columns(self, columns: pa.Table, synced_at: datetime) -> pa.Table:
        """Returns a batch of live rows from their documented columns.

        Args:
            columns: What `FastDecoder.decode` returned.
            synced_at: When the rows were received (UTC).
        """
        arrays = [
            pa.repeat(pa.scalar(LIVE.get(field.name, synced_at), field.type), columns.num_rows)
            if field.name in SYNC_COLUMNS
            else columns[field.name]
            for field in self.schema
        ]
        return pa.table(arrays, schema=self.schema)

    def from_rows(self, rows: Sequence[Row]) -> pa.Table:
        """Returns a batch of rows that have their sync columns; undocumented columns come last."""
        arrays = [
            arrow.array([row.get(field.name) for row in rows], field.type) for field in self.schema
        ]
        batch = pa.table(arrays, schema=self.schema)
        for name, values in self._undocumented_columns(rows).items():
            # A column that a user's `add_map` has added is of a type that Arrow infers.
            type_ = arrow.TYPES.get(self.undocumented[name])
            batch = batch.append_column(name, arrow.array(values, type_))
        return batch

    def plain_rows(self, batch: pa.Table) -> list[Row]:
        """Returns the rows of a batch as `RecordDecoder.rows` does, without sync columns."""
        names = [name for name in batch.column_names if name not in SYNC_COLUMNS]
        return [
            {name: _plain(value, self.undocumented.get(name)) for name, value in row.items()}
            for row in batch.select(names).to_pylist()
        ]

    def is_as_stored(self, row: Row, stored: Row) -> bool:
        """Whether a row has the values of a stored one, sync columns apart.

        A column that neither Protime documents nor the row has is somebody's `add_map`: it says
        nothing about the record.
        """
        values = {name: row[name] for name in self._known & row.keys() if row[name] is not None}
        values |= self._undocumented_values(row)
        names = (self._known | values.keys()) - SYNC_COLUMNS.keys()
        return all(values.get(name) == stored.get(name) for name in names)

    def _undocumented_columns(self, rows: Sequence[Row]) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {}
        for index, row in enumerate(rows):
            for column, value in self._undocumented_values(row).items():
                columns.setdefault(column, [None] * len(rows))[index] = value
        return columns

    def _undocumented_values(self, row: Row) -> dict[str, Any]:
        """The values that are not documented, by the columns that hold them."""
        values: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for name in sorted(row.keys() - self._known):
            if (value := row[name]) is not None:
                is_new = name not in self.undocumented and name != OTHER_FIELDS
                if is_new and len(self.undocumented) >= MAX_UNDOCUMENTED_COLUMNS:
                    field = self._fields.get(name, name)
                    others[field] = msgspec.Raw(value.encode()) if _is_json(value) else value
                else:
                    values[self._column_for(name, value)] = value
        if others:
            if OTHER_FIELDS not in self.undocumented:
                logger.warning(
                    "%s has more than %d fields that Protime's documentation does not have: the"
                    " others go into the column %s, as JSON.",
                    self._table_name,
                    MAX_UNDOCUMENTED_COLUMNS,
                    OTHER_FIELDS,
                )
            # A deletion brings those of the stored row too.
            before = values.get(OTHER_FIELDS, "{}").encode()
            others = msgspec.json.decode(before, type=dict[str, msgspec.Raw]) | others
            others = dict(sorted(others.items()))
            text = JsonText(msgspec.json.encode(others).decode())
            values[self._column_for(OTHER_FIELDS, text)] = text
        return values

    def _column_for(self, name: str, value: object) -> str:
        """Returns the column that can hold the value: dlt's variant column if types differ."""
        types = (type_ for python, type_ in self._types.items() if isinstance(value, python))
        if (type_ := next(types, None)) is None:
            return name  # JSON has no such type: the value was read from the warehouse
        known = self.undocumented.setdefault(name, type_)
        if type_ == known or _fits(value, known):
            return name
        variant = f"{name}__v_{type_}"
        self.undocumented[variant] = type_
        return variant


def rechunk(batches: Iterable[pa.Table | None]) -> Generator[pa.Table | None, None, None]:
    """Makes small batches into large ones, because each becomes a row group of Parquet.

    Args:
        batches: Batches; a None is passed on at once.

    Yields:
        Batches of whole groups of `ROWS_PER_GROUP` rows. The remaining rows follow before a batch
        with other columns, and at the end.
    """
    waiting: list[pa.Table] = []
    for batch in batches:
        if batch is None:
            yield None
            continue
        if waiting and batch.schema != waiting[0].schema:
            yield pa.concat_tables(waiting)
            waiting = []
        waiting.append(batch)
        rows = sum(each.num_rows for each in waiting)
        if rows_in_groups := rows - rows % ROWS_PER_GROUP:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, rows_in_groups)
            waiting = [joined.slice(rows_in_groups)]
    if waiting:
        yield pa.concat_tables(waiting)


def _plain(value: Any, type_: str | None) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return JsonText(value) if type_ == "json" and value is not None else value


def _is_json(value: object) -> bool:
    return isinstance(value, JsonText)


def _fits(value: object, type_: str) -> bool:
    """Whether a column of another type than the value's own holds it without loss."""
    if type_ == "double":
        return type(value) is int and int(float(value)) == value
    return type_ == "date" and isinstance(value, str) and is_date(value)
