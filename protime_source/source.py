"""The dlt source."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.common.schema.typing import TColumnSchema
from dlt.extract import DltResource
from dlt.extract.items import DataItemWithMeta

from protime_source import defaults
from protime_source.collections import ASSIGNMENTS, Collection
from protime_source.counts import Counts
from protime_source.extraction import Extraction
from protime_source.lock import hold
from protime_source.records import RecordDecoder
from protime_source.settings import Settings, check_loading
from protime_source.tables import TableBuilder
from protime_source.transport import Transport
from protime_source.views import ViewKeeper, drop_views
from protime_source.warehouse import Warehouse

NAME = "protime"


@dlt.source(name=NAME, section=NAME, max_table_nesting=0)
def protime(
    *, max_pages: int | None = None, full_resync: bool = False, **settings: Any
) -> Iterator[DltResource]:
    """The data of a Protime tenant, kept true by delta.

    The first run loads everything; each later one only what has changed since, deletes
    included. A run that fails changes nothing.

    Args:
        max_pages: Stop a walk after this many pages; the next run goes on there. A delta
            answer is never split.
        full_resync: Walk from the start, whatever is remembered.
        **settings: Any of `Settings`, in place of dlt's configuration.

    Yields:
        The resource `assignments`.

    Raises:
        SettingsError: When a setting is missing or wrong.
    """
    resolved = Settings.from_config(**settings)
    yield _resource(ASSIGNMENTS, resolved, max_pages, full_resync)


def _resource(
    collection: Collection, settings: Settings, max_pages: int | None, full_resync: bool
) -> DltResource:
    return dlt.resource(
        _extract,
        name=collection.table,
        primary_key="id",
        write_disposition={"disposition": "merge", "strategy": "upsert"},
        columns=_columns(collection, settings),
        file_format="parquet",
    )(collection, settings, max_pages, full_resync)


def _extract(
    collection: Collection, settings: Settings, max_pages: int | None, full_resync: bool
) -> Iterator[DataItemWithMeta]:
    check_loading()
    hold(dlt.current.pipeline(), "source")
    schema = dlt.current.source_schema()
    stored = schema.tables.get(collection.table, {}).get("columns", {})
    columns = {**_columns(collection, settings), **stored}
    pipeline, refresh = dlt.current.pipeline(), _refresh()
    warehouse = Warehouse(pipeline, collection.table, columns, is_emptied=refresh is not None)
    if refresh in ("drop_sources", "drop_resources"):
        drop_views(pipeline, collection)
    normalize, dialect = schema.naming.normalize_identifier, warehouse.dialect
    decoder = RecordDecoder(collection, normalize, holds_nul=dialect.holds_nul)
    builder = TableBuilder(collection, decoder, warehouse.types, dialect.json_type)
    counts = Counts(collection.table)
    transport = Transport(settings, [collection.read_scope])
    run = Extraction(
        collection,
        settings,
        transport,
        warehouse,
        decoder,
        builder,
        dlt.current.resource_state(),
        counts,
        max_pages,
    )
    try:
        for table in run.tables(full_resync=full_resync, is_known=bool(stored)):
            yield dlt.mark.with_hints(table, _hints(run))
    finally:
        transport.close()
    counts.requests = transport.requests
    dlt.current.resource_metrics().update(counts.metrics())


def _refresh() -> str | None:
    """Dlt's `refresh` mode of this run: its load drops or empties the table before the merge."""
    mode: str | None = dlt.current.load_package_state()["state"].get("refresh")
    return mode


def _hints(run: Extraction) -> Any:
    """What only the pipeline's destination tells: the merge filter, and how JSON is kept.

    Columns are left alone unless there are some to add: an empty dict would take away their hints.
    """
    columns = _json_columns(run)
    return dlt.mark.make_hints(
        write_disposition={
            "disposition": "merge",
            "strategy": "upsert",
            "source_filter": run.warehouse.merge_filter(run.valid_since),
        },
        columns=columns or None,
        additional_table_hints=run.warehouse.dialect.table_hints,
    )


def _json_columns(run: Extraction) -> dict[str, TColumnSchema]:
    """Columns that Arrow's types do not tell, or that this destination keeps in its own way."""
    kind, undocumented = run.warehouse.dialect.json_type, run.builder.undocumented
    names = [name for name, found in undocumented.items() if found == kind == "json"]
    if kind != "json":
        names += [column.name for column in run.collection.columns if column.type == "json"]
    return {name: {"name": name, "data_type": kind} for name in names}


def _columns(collection: Collection, settings: Settings) -> dict[str, TColumnSchema]:
    """The hints to dlt. A hint stays in the stored schema, so `hard_delete` is said both ways."""
    columns: dict[str, TColumnSchema] = {
        column.name: {
            "data_type": column.type,
            "nullable": column.name not in ("id", "change_version"),
            "description": column.description,
        }
        for column in collection.columns
    }
    return columns | {
        "is_deleted": {
            "data_type": "bool",
            "nullable": False,
            "hard_delete": settings.deletes == "remove",
            "description": "Whether it is gone from Protime; the row keeps its last values.",
        },
        "deleted_at": {
            "data_type": "timestamp",
            "nullable": True,
            "description": "When we learnt that it is gone (UTC).",
        },
        "delete_reason": {
            "data_type": "text",
            "nullable": True,
            "description": "`announced` by the delta, or `vanished` at a resync.",
        },
        "synced_at": {
            "data_type": "timestamp",
            "nullable": False,
            "description": "When the row was last received (UTC).",
        },
    }


class _TypeDifferenceFilter(logging.Filter):
    """Drops dlt's warning that JSON text goes into a json column: it is meant to."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keeps all but that."""
        text = record.getMessage()
        return not (
            "when merging arrow schema with dlt schema" in text
            and f"resource: {ASSIGNMENTS.table}," in text
        )


def install() -> None:
    """Makes dlt know this source's defaults and views."""
    defaults.install()
    logging.getLogger("dlt").addFilter(_TypeDifferenceFilter())
    ViewKeeper(NAME, ASSIGNMENTS).install()
