"""A demo tenant over real HTTP, our HTTP client, decoders and engine, and a table in memory.

A run takes a tenth of what dlt and a database take. It is for the rules that `protime_source.api`,
`decode` and `sync` decide alone, whatever the destination is: what the warehouse does with the rows
is the simulator's model, to which `tests/units/warehouse/test_merge.py` holds each engine's SQL.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from dlt.common.normalizers.naming.snake_case import NamingConvention

from protime_source.api.http import HttpClient
from protime_source.api.pages import iter_pages
from protime_source.catalogue.model import Collection
from protime_source.decode.tables import BatchBuilder
from protime_source.decode.tolerant import RecordDecoder
from protime_source.decode.values import JsonText
from protime_source.demo import DemoTenant
from protime_source.settings import Settings
from protime_source.sync.bookmark import Bookmark
from protime_source.sync.context import CollectionContext, Limits, RunContext
from protime_source.sync.counts import Counts
from protime_source.sync.engine import CollectionSync
from protime_source.sync.prefetch import PrefetchedPages
from tests.simulator.warehouse import MergeFilter, Warehouse
from tests.units.sync.memory import MemoryTable
from tests.world import Row, comparable, flat


@dataclass
class MemoryWorld:
    """All that a run of one collection with a delta touches.

    Attributes:
        tenant: The tenant; a server answers for it.
        name: The collection's table.
        table: The table.
        types: dlt's data types of the columns that it has beyond the documented ones.
        state: What is remembered between runs; it is committed with the rows.
    """

    tenant: DemoTenant
    name: str = "assignments"
    table: MemoryTable = field(default_factory=MemoryTable)
    types: dict[str, str] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)

    def run(
        self,
        *,
        max_pages: int | None = None,
        max_bytes: int | None = None,
        full_resync: bool = False,
        **settings: Any,
    ) -> Counts:
        """One run, as `pipeline.run(protime())` does it: one that fails commits nothing."""
        resolved = Settings.from_config(**settings)
        collection, counts = resolved.collection(self.name), Counts(self.name)
        state, table = deepcopy(self.state), replace(self.table)
        decoder = RecordDecoder(collection, NamingConvention().normalize_identifier)
        builder = BatchBuilder(collection, self.types)
        limits = Limits(max_pages, max_bytes)
        with RunContext(resolved, HttpClient(resolved), limits, full_resync) as run:
            session = run.session(self.name, collection.read_scopes[0])
            pages = PrefetchedPages(
                run,
                self.name,
                lambda link: iter_pages(session, collection, link),
                decoder.fast,
                is_first_load=False,
            )
            sync = CollectionSync(
                CollectionContext(run, collection, pages, table, decoder, builder, state, counts)
            )
            staged: list[Row] = []
            merge_filter = MergeFilter(None)
            batches = sync.batches(table_is_known=table.exists)
            assert isinstance(batches, Generator)
            with closing(batches):
                for batch in batches:
                    if batch is not None:  # dlt merges with the filter of the last one
                        staged += batch.to_pylist()
                        at = sync.ignore_live_rows_before
                        merge_filter = MergeFilter(at, collection.has_version)
        self._merge(staged, merge_filter, builder, collection)
        self.state, self.types = state, builder.undocumented
        return counts

    def _merge(
        self,
        staged: list[Row],
        merge_filter: MergeFilter,
        builder: BatchBuilder,
        collection: Collection,
    ) -> None:
        """What dlt's MERGE does; nothing is staged when nothing has changed."""
        dates = _dates(collection)
        json = [name for name, kind in builder.undocumented.items() if kind == "json"]
        for row in staged:
            row.update({name: day.isoformat() for name in dates if (day := row[name])})
            row.update({name: JsonText(text) for name in json if (text := row.get(name))})
        warehouse = Warehouse(self.table.rows_by_id, staging=staged)
        if staged:
            warehouse.merge(merge_filter)
            self.table = replace(self.table, rows_by_id=warehouse.rows or {}, exists=True)

    @property
    def bookmark(self) -> Bookmark:
        """The bookmark that the last run left."""
        bookmark = Bookmark.read(self.state)
        assert bookmark is not None
        return bookmark

    def rows(self) -> dict[int, Row]:
        """All rows of the table by id, with the types that a database gives."""
        dates = _dates(self._collection)
        return {
            id_: {**row, **{name: _day(row[name]) for name in dates}}
            for id_, row in sorted(self.table.rows_by_id.items())
        }

    def live(self) -> dict[int, Row]:
        """The live rows by id."""
        return {id_: row for id_, row in self.rows().items() if not row["is_deleted"]}

    def check(self) -> None:
        """The table says what Protime says: live rows equal the records, field by field."""
        collection = self._collection
        shown = {
            id_: comparable(collection, {c.path: row[c.name] for c in collection.columns})
            for id_, row in self.live().items()
        }
        assert shown == {
            id_: comparable(collection, flat(record, collection))
            for id_, record in self.tenant.of(collection.name).items()
            if record.get("status") != "Deleted"
        }

    @property
    def _collection(self) -> Collection:
        return Settings.from_config().collection(self.name)

    @property
    def requests(self) -> int:
        """API requests since the last `tenant.clear_requests()`, tokens not counted."""
        return len(self.tenant.api_requests)


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _dates(collection: Collection) -> list[str]:
    return [column.name for column in collection.columns if column.type == "date"]
