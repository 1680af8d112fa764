"""The dlt source and its resources: read state, sync, write state."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import islice
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.configuration.specs.config_section_context import ConfigSectionContext
from dlt.common.destination.exceptions import DestinationException
from dlt.common.pipeline import PipelineContext, pipeline_state
from dlt.extract import DltResource
from dlt.extract.items import DataItemWithMeta

from protime_source.api.http import ApiSession, HttpClient
from protime_source.api.pages import iter_pages
from protime_source.catalogue import COLLECTIONS
from protime_source.catalogue.model import Collection
from protime_source.configuration import ConfigSections
from protime_source.decode.tables import BatchBuilder, rechunk
from protime_source.errors import (
    ForbiddenError,
    NotFoundError,
    RefusedCollectionsError,
    ScopeError,
    SettingsError,
    UnauthorizedError,
    VanishedRowsError,
)
from protime_source.pipeline import guards
from protime_source.pipeline.data_model import (
    batch_hints,
    column_hints,
    describe_tables,
    record_decoder,
)
from protime_source.pipeline.destination import Destination, destination_of
from protime_source.pipeline.failures import ledger_line
from protime_source.pipeline.hooks import HISTORY_HINT, HOOKS, record_history, register
from protime_source.pipeline.ledger import Ledger
from protime_source.pipeline.lock import keep_open, let_readers_in
from protime_source.pipeline.overlaps import take_back_unmerged
from protime_source.pipeline.packages import note_staged, rest_on
from protime_source.pipeline.publishing import check_publishing
from protime_source.pipeline.states import (
    NAME,
    forget_old_states,
    other_states,
    resource_states,
    restore_committed_state,
)
from protime_source.pipeline.summary import refusal_message
from protime_source.pipeline.table_guards import check_table
from protime_source.settings import Settings, invalid_setting
from protime_source.sync.bookmark import Bookmark
from protime_source.sync.context import CollectionContext, Limits, RunContext
from protime_source.sync.counts import Counts
from protime_source.sync.engine import CollectionSync
from protime_source.sync.prefetch import PrefetchedPages
from protime_source.warehouse.dialect import dialect_of
from protime_source.warehouse.staging import StagedRows
from protime_source.warehouse.table import StoredTable

logger = logging.getLogger(__name__)

LARGE_BATCH_BYTES = 16 * 2**20
"""Arrow memory from which releasing it is worth its time: a tenth of a short run."""

REFUSALS = (ScopeError, ForbiddenError, UnauthorizedError, NotFoundError)
"""Protime does not let this client read a collection, or does not have it."""


@dlt.source(name=NAME, section=NAME, max_table_nesting=0)
def protime(
    *collections: str,
    max_pages: int | None = None,
    max_bytes: int | None = None,
    full_resync: bool = False,
    **settings: Any,
) -> Iterator[DltResource]:
    """The data of a Protime tenant, kept true by delta.

    The first run loads everything; each later one only what has changed since, deletes
    included. A run that fails changes nothing. The source needs no credentials until its rows are
    asked for.

    Args:
        *collections: What to load, `"assignments", "people"` or `"all"`; by the setting
            `collections` when nothing is named, which is `assignments` unless set.
        max_pages: Stop a full load after this many pages; the next run resumes it. A delta answer
            is never split.
        max_bytes: The same, after this much JSON, whatever the size of a page.
        full_resync: Load fully from the start, whatever is remembered.
        **settings: Any of `Settings`, in place of dlt's configuration.

    Yields:
        A resource for each collection; those that were not asked for are not selected.

    Raises:
        SettingsError: When a setting is wrong.
    """
    for name, limit in (("max_pages", max_pages), ("max_bytes", max_bytes)):
        if limit is not None and (type(limit) is not int or limit < 1):
            raise invalid_setting(name, limit, "a number from 1")
    if collections:
        settings["collections"] = collections
    guards.check_schema_name(dlt.current.source_schema().name)
    context = Container()[ConfigSectionContext]
    sections = ConfigSections(context.source_section(), context.pipeline_name)
    defined = Settings.from_config(complete=False, sections=sections, **settings)
    register()

    def new_run() -> RunContext:
        name = dlt.current.pipeline().pipeline_name
        resolved = Settings.from_config(sections=replace(sections, pipeline_name=name), **settings)
        resolved.check_defined_as(defined, name)
        limits = Limits(max_pages, max_bytes)
        return RunContext(resolved, HttpClient(resolved), limits, full_resync)

    yield from _resources(defined, _RunPerPackage(new_run).current)


def source_of(run: RunContext, table_names: Iterable[str]) -> Any:
    """Returns the source `protime` for some tables and a run that several load packages share."""
    make = dlt.source(_resources, name=NAME, section=NAME, max_table_nesting=0)
    return make(run.settings, lambda: run, table_names)


def _resources(
    settings: Settings,
    current_run: Callable[[], RunContext],
    table_names: Iterable[str] = COLLECTIONS,
) -> Iterator[DltResource]:
    for table_name in table_names:
        yield dlt.resource(
            _rows(table_name, current_run),
            name=table_name,
            selected=table_name in settings.collections,
            primary_key="id",
            write_disposition={"disposition": "merge", "strategy": "upsert"},
            columns=column_hints(settings.collection(table_name), settings),
            file_format="parquet",
            # Else dlt makes a class for each: of the settings that its parameters would be.
            spec=BaseConfiguration,
        )


def _rows(
    table_name: str, current_run: Callable[[], RunContext]
) -> Callable[[], Iterator[DataItemWithMeta | None]]:
    """A function without parameters, which dlt would have to bind."""

    def rows() -> Iterator[DataItemWithMeta | None]:
        yield from _extract(table_name, current_run)

    return rows


class _RunPerPackage:
    """The run of a source object: a new one for each load package that it is extracted into.

    Args:
        new_run: Makes one.
    """

    def __init__(self, new_run: Callable[[], RunContext]) -> None:
        self._new_run = new_run
        self._run: RunContext | None = None
        self._load_id = ""

    def current(self) -> RunContext:
        """Returns the run of the load package that is extracted.

        Raises:
            SettingsError: When the package before is still being extracted.
        """
        load_id = dlt.current.load_package_state()["load_id"]
        if self._run is None or self._load_id != load_id:
            if self._run is not None and self._run.tables_in_extraction:
                raise SettingsError(
                    "This source object is being extracted in another thread, and dlt would mix the"
                    " two up. Make one for each pipeline: protime(). This run did nothing."
                )
            self._run, self._load_id = self._new_run(), load_id
        return self._run


def _extract(
    table_name: str, current_run: Callable[[], RunContext]
) -> Iterator[DataItemWithMeta | None]:
    """Loads a collection, after all that can refuse it before a request."""
    guards.check_usage(table_name)
    pipeline: dlt.Pipeline = Container()[PipelineContext].pipeline()  # type: ignore[assignment]
    guards.check_dlt_settings(pipeline.config.enable_runtime_trace)
    run = current_run()
    collection = run.settings.collection(table_name)
    if not collection.path_parameters:
        raise SettingsError(
            f"{table_name} needs the setting activity_structures: the GUID of a structure version,"
            " which stands in the configuration of myProtime, and a level. Nothing was changed."
        )
    load_id = dlt.current.load_package_state()["load_id"]
    destination = destination_of(pipeline, load_id, run.settings.lock_timeout)
    if not run.destination_checked:
        dialect_of(pipeline).check(destination.client)
        check_publishing(run.settings, dialect_of(pipeline), destination.client)
        run.destination_checked = True
    HOOKS.acquire_lock(pipeline, run.settings.lock_timeout)
    keep_open(pipeline)
    HOOKS.bound_waits(pipeline)
    _check_tenant(run.settings, destination)
    _open_ledger(run, destination, load_id)
    package: Any = dlt.current.load_package_state()["state"]
    local, _ = pipeline_state(Container())
    rest_on(destination.committed, package, local, NAME, destination.staged)
    run.tables_in_extraction.add(table_name)
    try:
        yield from _load_with_scopes(collection, run, destination)
    except VanishedRowsError as error:
        if not run.stops_alone:
            raise
        run.guarded[table_name] = error
    except Exception as error:
        run.errors[table_name] = ledger_line(error)
        raise
    finally:
        run.tables_in_extraction.discard(table_name)
        if table_name in run.package:
            run.package[table_name].is_read = True
        if not run.tables_in_extraction and not run.keeps_prefetchers:
            run.http.close()


def _load_with_scopes(
    collection: Collection, run: RunContext, destination: Destination
) -> Iterator[DataItemWithMeta | None]:
    """Loads a collection with the first of its scopes that Protime accepts."""
    untried = [s for s in collection.read_scopes if s not in run.refused_scopes]
    for scope in untried or collection.read_scopes:
        try:
            session = run.session(collection.table, scope)
            yield from _load(collection, run, destination, session)
            return
        except REFUSALS as error:
            run.refused_scopes.add(scope)
            refusal = error
    run.refusals[collection.table] = refusal
    message = refusal_message(collection, refusal)
    if not run.stops_alone:
        raise RefusedCollectionsError(message, (collection.table,)) from refusal
    logger.warning("%s", message)


def _open_ledger(run: RunContext, destination: Destination, load_id: str) -> None:
    """Opens the ledger's rows of a run, once; dlt's end of the run closes them, or `load` does."""
    if run.ledger is None:
        pipeline, client = destination.pipeline, destination.client
        with suppress(DestinationException):  # the next run tries again
            forget_old_states(client, pipeline.pipeline_name, destination.states)
        selected = dlt.current.source().selected_resources
        names = run.settings.collections if run.stops_alone else tuple(selected)
        run.ledger = Ledger(pipeline, client, names)
        if not run.stops_alone:
            HOOKS.close_ledger_after(pipeline, run)
        silence = run.ledger.open()
        while silence and take_back_unmerged(pipeline, client, destination.states, silence):
            destination.forget()
        if silence:
            destination.empty_tables_ahead()
    run.ledger.load_id = load_id


def _check_tenant(settings: Settings, destination: Destination) -> None:
    state = destination.committed or destination.pipeline.state
    states = resource_states(state, NAME)
    # dlt's `refresh`: the load drops these tables before the merge.
    package: Any = dlt.current.load_package_state()["state"]
    for dropped in package.get("dropped_tables", ()):
        states.pop(dropped["name"], None)
    guards.check_tenant(settings, states)
    location = dialect_of(destination.pipeline).location(destination.client)
    others = other_states(destination.pipeline.pipeline_name, destination.states)
    guards.check_other_pipelines(settings, others, location)


def _load(
    collection: Collection, run: RunContext, destination: Destination, session: ApiSession
) -> Iterator[DataItemWithMeta | None]:
    """Reads state, syncs, and writes state: all that one run does for one collection."""
    schema = dlt.current.source_schema()
    known_columns = schema.tables.get(collection.table, {}).get("columns", {})
    stored = _stored_table(collection, run.settings, destination, known_columns)
    check_table(stored, collection, known_columns)
    if run.settings.history and stored.exists and known_columns:  # else no load has ended yet
        record_history(destination.client, stored.dialect, schema.tables[collection.table])
    state = _state(collection, destination, stored)
    decoder = record_decoder(schema, collection, holds_nul=stored.dialect.holds_nul)
    context = CollectionContext(
        run=run,
        collection=collection,
        pages=PrefetchedPages(
            run,
            collection.table,
            lambda link: iter_pages(session, collection, link),
            decoder.fast,
            is_first_load=run.keeps_prefetchers and not stored.exists,
        ),
        stored=stored,
        decoder=decoder,
        builder=BatchBuilder(collection, stored.types, stored.dialect.json_type, decoder.fields),
        state=state,
        counts=Counts(collection.table),
        may_be_ahead=collection.table in destination.tables_ahead,
    )
    run.package[collection.table] = context.counts
    context.counts.announce()
    sync, staged = CollectionSync(context), StagedRows()
    # Closed here: a failed run's traceback would keep it, and with it the threads that fetch.
    with closing(rechunk(sync.batches(table_is_known=bool(known_columns)))) as batches:
        # No loop: its variable would keep the last batch, 15 MB and more, while that is loaded.
        items = (
            None if each is None else _with_hints(each, sync, stored, staged) for each in batches
        )
        yield from islice(items, 1)  # before the first request; the other collections come here too
        let_readers_in(destination.pipeline)
        yield from items
    package: Any = dlt.current.load_package_state()
    left_out = context.counts.unchanged > 0
    note_staged(
        package["state"], package["load_id"], collection.table, staged, state, leaves_out=left_out
    )
    describe_tables(schema, history=run.settings.history, models=run.settings.models)
    guards.write_tenant(run.settings, state)
    context.counts.requests = run.new_requests(session)
    context.counts.refused_records = decoder.refused_records
    dlt.current.resource_metrics().update(context.counts.metrics())
    if pa.total_allocated_bytes() > LARGE_BATCH_BYTES:
        # The destination's driver works next, in the same process: it needs the memory.
        gc.collect()
        pa.default_memory_pool().release_unused()


def _stored_table(
    collection: Collection,
    settings: Settings,
    destination: Destination,
    known_columns: Any,
) -> StoredTable:
    """The table, without the columns that are no longer to be loaded."""
    excluded = {column.name for column in collection.excluded}
    columns = {
        name: column
        for name, column in {**column_hints(collection, settings), **known_columns}.items()
        # dlt fills its own columns again, where it is configured to have them.
        if name not in excluded and not name.startswith("_dlt_")
    }
    return StoredTable(
        destination.pipeline,
        destination.client,
        collection.table,
        columns,
        excluded=excluded,
        # dlt's `refresh`: the load drops or empties the table before the merge.
        is_emptied="refresh" in dlt.current.load_package_state()["state"],
        has_history=settings.history,
    )


def _state(collection: Collection, destination: Destination, stored: StoredTable) -> dict[str, Any]:
    """The resource's state, as far as the destination has it too."""
    state: dict[str, Any] = dlt.current.resource_state()
    if state and destination.committed is not None:
        bookmark = Bookmark.read(state)
        belongs_here = bookmark is None or bookmark.scope.warehouse == stored.fingerprint
        local, _ = pipeline_state(Container())
        is_older = restore_committed_state(
            state, destination.committed, local, NAME, collection.table
        )
        if is_older and belongs_here:
            logger.warning(
                "%s: the warehouse is older than the working folder remembers, as after a backup"
                " was put back: what changed since is fetched again.",
                collection.table,
            )
    return state


def _with_hints(
    batch: pa.Table, sync: CollectionSync, stored: StoredTable, staged: StagedRows
) -> DataItemWithMeta:
    """A batch with the merge filter, and with what only the destination knows."""
    staged.add(batch)
    hints = dlt.mark.make_hints(
        # Pass None, not {}: an empty dict removes the columns' hints.
        columns=batch_hints(batch, sync.context, stored.dialect.json_type) or None,
        write_disposition=_upsert(
            stored.merge_filter(
                sync.ignore_live_rows_before, has_version=sync.context.collection.has_version
            )
        ),
        additional_table_hints={
            **stored.dialect.table_hints,
            HISTORY_HINT: sync.context.run.settings.history,
        },
    )
    return dlt.mark.with_hints(batch, hints)


def _upsert(source_filter: str) -> Any:
    """One MERGE statement, of the staged rows that a condition lets through."""
    return {"disposition": "merge", "strategy": "upsert", "source_filter": source_filter}
