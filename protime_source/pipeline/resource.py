"""One collection as a dlt resource."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.schema.typing import TTableSchemaColumns
from dlt.extract import DltResource
from dlt.extract.items import DataItemWithMeta

from protime_source.api.transport import Transport
from protime_source.catalogue.model import Collection
from protime_source.decode.tables import TableBuilder
from protime_source.decode.tolerant import RecordDecoder
from protime_source.errors import (
    ForbiddenError,
    NotFoundError,
    ScopeError,
    SettingsError,
    UnauthorizedError,
)
from protime_source.pipeline.guards import check_loading, check_usage
from protime_source.pipeline.hints import column_hints, json_columns, merge_hints, upsert
from protime_source.pipeline.lock import hold
from protime_source.pipeline.package import Job, Package
from protime_source.pipeline.state import confirm, resource_state
from protime_source.sync.bookmark import Bookmark
from protime_source.sync.context import Extraction
from protime_source.sync.counts import Counts
from protime_source.sync.engine import Sync
from protime_source.sync.history import ChangeLog
from protime_source.warehouse.table import Warehouse

logger = logging.getLogger(__name__)

LARGE = 16 * 2**20
"""Bytes of Arrow tables that are worth looking for."""

_REFUSALS = (ScopeError, ForbiddenError, UnauthorizedError, NotFoundError)


def resource(collection: Collection, job: Job) -> DltResource:
    """The resource that loads a collection."""
    return dlt.resource(
        _extract,
        name=collection.table,
        selected=collection.table in job.settings.collections,
        primary_key="id",
        write_disposition={"disposition": "merge", "strategy": "upsert"},
        columns=column_hints(collection, job.settings),
        file_format="parquet",
    )(collection, job)


def _extract(collection: Collection, job: Job) -> Iterator[DataItemWithMeta | None]:
    """Tries the scopes that may open the collection; a refusal is no reason to stop the others."""
    check_usage(collection)
    package = job.package
    check_loading(package.pipeline.config.enable_runtime_trace)
    if not collection.branches:
        raise SettingsError(
            f"{collection.table} needs the setting activity_structures: the GUID of a structure"
            " version, which stands in the configuration of myProtime, and a level. Nothing was"
            " changed."
        )
    hold(package.pipeline.working_dir, "source")
    package.at_work.add(collection.table)
    try:
        refused = job.session.refused_scopes
        hopeful = [scope for scope in collection.read_scopes if scope not in refused]
        for scope in hopeful or collection.read_scopes:
            try:
                yield from _load(collection, package, scope)
                return
            except _REFUSALS as error:
                refused.add(scope)
                refusal = error
        _refuse(collection, package, refusal)
    finally:
        package.at_work.discard(collection.table)
        package.ended.add(collection.table)


def _refuse(collection: Collection, package: Package, refusal: Exception) -> None:
    """Notes the refusal. When there is nothing else to load, it is the error."""
    package.refused.add(collection.table)
    if package.refused >= set(dlt.current.source().selected_resources):
        raise refusal
    metric = "absent" if isinstance(refusal, NotFoundError) else "refused"
    dlt.current.resource_metrics()[metric] = 1
    logger.error("%s: %s", collection.table, _told(collection, refusal))


def _told(collection: Collection, refusal: Exception) -> str:
    """What a refusal means, and what to do."""
    if isinstance(refusal, NotFoundError):
        return f"not loaded, since there is nothing to load: {refusal} The others are loaded."
    return (
        f"not loaded, since Protime does not let this client read it: {refusal} It needs"
        f" the scope {' or '.join(collection.read_scopes)}. The others are loaded."
    )


def _load(
    collection: Collection, package: Package, scope: str
) -> Iterator[DataItemWithMeta | None]:
    """Loads the collection with a token of one scope."""
    job = package.job
    stored = dlt.current.source_schema().tables.get(collection.table, {}).get("columns", {})
    known = {**column_hints(collection, job.settings), **stored}
    warehouse = _warehouse(collection, package, known)
    transport = job.session.transport(collection.table, scope)
    try:
        run = _extraction(collection, package, warehouse, transport)
        tables = Sync(run).tables(full_resync=job.full_resync, is_known=bool(stored))
        # No loop: its variable would hold the last table, 15 MB and more, while that is loaded.
        yield from (None if table is None else _hinted(table, run) for table in tables)
    finally:
        job.session.release(collection.table, scope)
    if run.log is not None:
        yield from _noted(run.log, warehouse)
    run.counts.requests = transport.counted()
    dlt.current.resource_metrics().update(run.counts.metrics())
    _make_room()


def _make_room() -> None:
    """The destination's driver works next, in the same process: a walk's last tables are let go."""
    if pa.total_allocated_bytes() > LARGE:  # to look for them takes a short run a tenth of its time
        gc.collect()
        pa.default_memory_pool().release_unused()


def _warehouse(collection: Collection, package: Package, known: TTableSchemaColumns) -> Warehouse:
    """The table, without what is not to be loaded any more."""
    hidden = {column.name for column in collection.hidden}
    # Dlt's own columns it fills anew, where it is told to have them.
    columns = {
        name: each
        for name, each in known.items()
        if name not in hidden and not name.startswith("_dlt_")
    }
    # Dlt's `refresh`: the load drops or empties the table before the merge.
    is_emptied = "refresh" in dlt.current.load_package_state()["state"]
    pipeline, client = package.pipeline, package.client
    return Warehouse(
        pipeline, client, collection.table, columns, hidden=hidden, is_emptied=is_emptied
    )


def _extraction(
    collection: Collection, package: Package, warehouse: Warehouse, transport: Transport
) -> Extraction:
    job = package.job
    normalize = dlt.current.source_schema().naming.normalize_identifier
    dialect = warehouse.dialect
    decoder = RecordDecoder(collection, normalize, holds_nul=dialect.holds_nul)
    return Extraction(
        collection=collection,
        settings=job.settings,
        session=job.session,
        transport=transport,
        warehouse=warehouse,
        decoder=decoder,
        builder=TableBuilder(collection, decoder, warehouse.types, dialect.json_type),
        state=_state(collection, package, warehouse),
        counts=Counts(collection.table),
        part=job.part,
        log=ChangeLog(collection) if job.settings.history and collection.has_delta else None,
        is_alone=partial(package.is_last, frozenset(dlt.current.source().selected_resources)),
    )


def _state(collection: Collection, package: Package, warehouse: Warehouse) -> dict[str, Any]:
    """The resource's state, as far as the destination has it, too."""
    state: dict[str, Any] = dlt.current.resource_state()
    if state and package.committed is not None:
        source = dlt.current.source_schema().name
        stored = resource_state(package.committed, source, collection.table)
        bookmark = Bookmark.read(state)
        is_of_here = bookmark is None or bookmark.origin.warehouse == warehouse.fingerprint
        if confirm(state, stored) and is_of_here:
            logger.warning(
                "%s: the warehouse is older than the working folder remembers, as after a backup"
                " was put back: what changed since is fetched again.",
                collection.table,
            )
    return state


def _hinted(table: pa.Table, run: Extraction) -> DataItemWithMeta:
    """Columns are left alone unless there are some: an empty dict takes away their hints."""
    made = dlt.mark.make_hints(columns=json_columns(run) or None, **merge_hints(run))
    return dlt.mark.with_hints(table, made)


def _noted(log: ChangeLog, warehouse: Warehouse) -> Iterator[DataItemWithMeta]:
    """The log's new rows, for a table of their own."""
    if (rows := log.rows()).num_rows:
        # A variant starts as a copy of the resource, with its columns: they are taken away first.
        own: Any = {"table_name": log.table, "create_table_variant": True}
        dlt.current.resource().apply_hints(columns={}, **own)
        hints = dlt.mark.make_hints(
            table_name=log.table,
            primary_key="event_id",
            columns=log.hints(warehouse.dialect.json_type),
            write_disposition=upsert(warehouse.log_filter(log.table)),
            file_format="parquet",
        )
        yield dlt.mark.with_hints(rows, hints, create_table_variant=True)
