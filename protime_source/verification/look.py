"""One look at a collection: what Protime's lists show, and what the table holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import pendulum
import pyarrow as pa

from protime_source.api.pages import Page, PageSession
from protime_source.catalogue.model import NOT_NULL, Collection
from protime_source.decode import arrow
from protime_source.decode import compute as pc
from protime_source.decode.soft_delete import Row
from protime_source.decode.tables import BatchBuilder
from protime_source.decode.tolerant import RecordDecoder
from protime_source.sync.reconcile import newest_of_each_id
from protime_source.verification.compare import Differences, compare, has_same_values
from protime_source.verification.lists import PlainList
from protime_source.verification.stored import LiveRows
from protime_source.warehouse.dialect import Client
from protime_source.warehouse.table import StoredTable


@dataclass(frozen=True)
class Look:
    """What one look at a collection saw.

    Attributes:
        shown: Protime's records: `id`, `change_version`, `is_deleted`.
        differences: What differs from the table.
        refused_records: Records without a row, because their id does not fit into 64 bits.
    """

    shown: pa.Table
    differences: Differences
    refused_records: int

    @property
    def compared(self) -> int:
        """Records that are not deleted."""
        return int(pc.sum(pc.invert(self.shown["is_deleted"])).as_py() or 0)


class Looker:
    """Looks at one collection.

    Args:
        collection: The collection, with the columns and references that are loaded.
        stored: The table that it is loaded into.
        client: A client of the destination.
        start: First day to compare; `None` for a collection without dates.
        deep: Whether to compare values too.
    """

    def __init__(
        self,
        collection: Collection,
        stored: StoredTable,
        client: Client,
        start: date | None,
        *,
        deep: bool,
    ) -> None:
        self._stored = stored
        self._deep = deep
        self._whole = collection
        # All that a shallow look decodes.
        keys = {*NOT_NULL, "status"} if collection.deleted_status else set(NOT_NULL)
        kept = tuple(column for column in collection.columns if column.name in keys)
        others = tuple(column for column in collection.columns if column.name not in keys)
        excluded = (*collection.excluded, *others)
        self._keys = replace(collection, columns=kept, excluded=excluded)
        self._builder = BatchBuilder(collection, {})
        self._start = start
        self._live = LiveRows(client, stored, collection, start)

    def look(self, session: PageSession, only: pa.Array | None = None) -> Look:
        """Reads the lists, then the table, and compares them.

        Args:
            session: Sends the requests.
            only: The ids to look at; all when `None`.

        Raises:
            ApiError: When Protime gives no usable answer.
        """
        decoder = RecordDecoder(
            self._whole if self._deep else self._keys,
            str,  # undocumented fields are not compared, so their columns' names do not matter
            holds_nul=self._stored.dialect.holds_nul,
        )
        # Ids that are GUIDs are those of small catalogs, which are read at once.
        has_guids = self._whole.id_type == "text"
        catalog = self._stored.all_rows() if self._deep and has_guids else None
        parts: list[pa.Table] = []
        other_values: list[Any] = []
        plain_list = PlainList(
            session,
            self._whole,
            self._start,
            self._live.years(),
            pendulum.today("UTC").date(),
            with_references=self._deep,
        )
        for parameters, page in plain_list.pages():
            if self._deep:
                rows = [{**row, **parameters} for row in self._rows_of_page(page, decoder)]
                if only is not None:
                    rows = _rows_with(rows, only)
                parts.append(self._table_of(rows))
                stored_rows = self._stored_rows(rows) if catalog is None else catalog
                other_values += self._other_values(rows, stored_rows)
            else:
                parts.append(_filtered(self._table_of_page(page, decoder), only))
        parts.append(self._table_of([]))
        shown = newest_of_each_id(pa.concat_tables(parts))
        found = compare(
            shown,
            _filtered(self._live.read(), only),
            pa.array(other_values, shown["id"].type),
            has_version=self._whole.has_version,
        )
        return Look(shown, found, decoder.refused_records)

    def _rows_of_page(self, page: Page, decoder: RecordDecoder) -> list[Row]:
        columns = decoder.fast.decode([page.body])
        return decoder.rows(page.records) if columns is None else self._builder.plain_rows(columns)

    def _table_of_page(self, page: Page, decoder: RecordDecoder) -> pa.Table:
        columns = decoder.fast.decode([page.body])
        if columns is None:
            return self._table_of(decoder.rows(page.records))
        is_deleted = pa.repeat(False, columns.num_rows)
        if status := self._whole.deleted_status:
            is_deleted = pc.fill_null(pc.equal(columns["status"], status), False)
        return columns.select(NOT_NULL).append_column("is_deleted", is_deleted)

    def _table_of(self, rows: list[Row]) -> pa.Table:
        status = self._whole.deleted_status or None
        return pa.table(
            {
                "id": pa.array([row["id"] for row in rows], arrow.TYPES[self._whole.id_type]),
                "change_version": pa.array([row["change_version"] for row in rows], pa.string()),
                "is_deleted": pa.array(
                    [status is not None and row.get("status") == status for row in rows],
                    pa.bool_(),
                ),
            }
        )

    def _other_values(self, rows: list[Row], stored: Mapping[Any, Row]) -> Iterator[Any]:
        """The ids of live rows that have their record's version, but not its values."""
        columns = {c.name: c for c in self._whole.columns if c.name not in NOT_NULL}
        for row in rows:
            other = stored.get(row["id"])
            if other is None or other["is_deleted"]:
                continue
            versions = {row["change_version"], other["change_version"]}
            is_comparable = len(versions) == 1 or (not self._whole.has_version and "" in versions)
            if is_comparable and not has_same_values(row, other, columns):
                yield row["id"]

    def _stored_rows(self, rows: list[Row]) -> dict[Any, Row]:
        return self._stored.rows([row["id"] for row in rows]) if self._stored.exists else {}


def _filtered(table: pa.Table, only: pa.Array | None) -> pa.Table:
    return table if only is None else table.filter(pc.is_in(table["id"], value_set=only))


def _rows_with(rows: list[Row], only: pa.Array) -> list[Row]:
    ids = pa.array([row["id"] for row in rows], only.type)
    wanted = pc.is_in(ids, value_set=only).to_pylist()
    return [row for row, is_wanted in zip(rows, wanted, strict=True) if is_wanted]
