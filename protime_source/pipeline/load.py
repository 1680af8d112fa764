"""A whole run: load what is pending, then what is new, until every collection is complete."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import dlt
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source.api.http import HttpClient
from protime_source.api.redaction import redacted_errors
from protime_source.configuration import ConfigSections
from protime_source.errors import (
    RefusedCollectionsError,
    UnavailableError,
    VanishedRowsError,
    causes,
)
from protime_source.pipeline.hooks import NAME, register
from protime_source.pipeline.lock import one_run
from protime_source.pipeline.recovery import load_pending, resource_states
from protime_source.pipeline.source import source_of
from protime_source.pipeline.summary import Summary, TableSummary
from protime_source.settings import Settings
from protime_source.sync.bookmark import Bookmark
from protime_source.sync.context import Limits, RunContext
from protime_source.sync.engine import MAX_FULL_LOADS
from protime_source.warehouse.dialect import client_of, dialect_of
from protime_source.warehouse.table import count_live

PACKAGE_BYTES = 120 * 2**20
"""JSON of a full load that is loaded at once: what a crash in a long full load can cost. With half
as much again a first load takes a tenth less, but DuckDB merges all of it in memory."""


def load(pipeline: dlt.Pipeline, *, full_resync: bool = False, **settings: Any) -> Summary:
    """Loads what is pending, then what is new, until each full load that was begun is complete.

    Collections that Protime refuses do not stop the others.

    Args:
        pipeline: The pipeline to load with.
        full_resync: Load fully from the start, whatever is remembered.
        **settings: Any of `Settings`, in place of dlt's configuration.

    Returns:
        What was done.

    Raises:
        PipelineStepFailed: When a step fails; `explain` says why.
        RefusedCollectionsError: When Protime refused some collections; the others are loaded.
        SettingsError: When a setting is missing or wrong.
        UnavailableError: When full loads have to be restarted again and again.
        WarehouseError: When the destination is not supported, not installed or not usable.
        AlreadyRunningError: When another run of the pipeline is at work.
    """
    sections = ConfigSections(pipeline_name=pipeline.pipeline_name)
    resolved = Settings.from_config(sections=sections, **settings)
    register()
    run = RunContext(
        resolved,
        HttpClient(resolved),
        Limits(max_bytes=PACKAGE_BYTES),
        full_resync,
        keeps_prefetchers=True,
        refusals={},
    )
    with redacted_errors(), one_run(pipeline.working_dir), run:
        started = time.monotonic()
        dialect, client = dialect_of(pipeline), client_of(pipeline)
        dialect.check(client)
        run.destination_checked = True
        dialect.prepare(client, pipeline.pipeline_name)
        pending = load_pending(pipeline)
        counts = _load_all(pipeline, run)
        refusals = run.refusals or {}
        loaded = [table for table in resolved.collections if table not in refusals]
        summary = Summary(
            tables={
                table: TableSummary(counts[table], live_rows, read_bookmark(pipeline, table))
                for table, live_rows in count_live(client.sql_client, loaded).items()
            },
            refusals=refusals,
            seconds=time.monotonic() - started,
            pending=pending,
            place=dialect.location(client),
        )
    if refusals:
        raise RefusedCollectionsError(summary.refusal, tuple(refusals), summary)
    return summary


def _load_all(pipeline: dlt.Pipeline, run: RunContext) -> dict[str, Counter[str]]:
    """Loads until all tables are complete, and returns what was counted for each.

    Raises:
        UnavailableError: When full loads have to be restarted again and again.
    """
    due = run.settings.collections
    counts, full_loads = {table: Counter[str]() for table in due}, Counter[str]()
    bookmarks = {} if run.full_resync else _bookmarks(pipeline, due)
    while due:
        _load_package(pipeline, run, due)
        run.full_resync = False
        before, bookmarks = bookmarks, _bookmarks(pipeline, due)
        metrics = {table: _metrics(pipeline, table) for table in due}
        for table in due:
            counts[table].update(metrics[table])
            full_loads[table] += _full_load_id(bookmarks[table]) != _full_load_id(before.get(table))
        if failing := [table for table, begun in full_loads.items() if begun > MAX_FULL_LOADS]:
            raise UnavailableError(
                f"{', '.join(failing)}: {MAX_FULL_LOADS + 1} full loads were started in this run,"
                " and each time the link to continue from had expired when it was followed."
                " Another consumer has probably started a delta on this collection, and only one"
                " can be active: give each its own client. If there is none, loading takes longer"
                " than Protime keeps a link."
            )
        due = tuple(
            table
            for table in due
            if _is_due_again(bookmarks[table], metrics[table]) and table not in (run.refusals or {})
        )
    return counts


def _load_package(pipeline: dlt.Pipeline, run: RunContext, tables: tuple[str, ...]) -> None:
    try:
        pipeline.run(source_of(run, tables))
    except PipelineStepFailed as error:
        for cause in causes(error):
            if isinstance(cause, VanishedRowsError):
                _invalidate_full_load(pipeline, cause.table_name)
        raise


def _invalidate_full_load(pipeline: dlt.Pipeline, table: str) -> None:
    """Rows that its first parts did not show may be back by then, so no run must resume it."""
    bookmark = read_bookmark(pipeline, table)
    if bookmark is not None and bookmark.full_load_in_progress:
        with pipeline.managed_state(extract_state=True) as state:
            bookmark.invalidated().write(state["sources"][NAME]["resources"][table])
        load_pending(pipeline)


def _is_due_again(bookmark: Bookmark | None, metrics: dict[str, int]) -> bool:
    """What a full load in parts showed first may have changed since: the delta follows at once."""
    in_progress = bookmark is not None and bookmark.full_load_in_progress
    return in_progress or metrics.get("resumed", 0) > 0


def _bookmarks(pipeline: dlt.Pipeline, tables: Iterable[str]) -> dict[str, Bookmark | None]:
    return {table: read_bookmark(pipeline, table) for table in tables}


def _full_load_id(bookmark: Bookmark | None) -> str:
    return bookmark.full_load_started_at if bookmark else ""


def read_bookmark(pipeline: dlt.Pipeline, table: str) -> Bookmark | None:
    """Returns the bookmark that a pipeline last committed for a table, if it has one."""
    return Bookmark.read(resource_states(pipeline.state, NAME).get(table, {}))


def _metrics(pipeline: dlt.Pipeline, table: str) -> dict[str, int]:
    """The counts of the last load package, which the resource left in dlt's trace."""
    extracted = pipeline.last_trace.last_extract_info if pipeline.last_trace else None
    packages = extracted.metrics.values() if extracted else ()
    return {
        name: count
        for steps in packages
        for step in steps
        if table in step["resource_metrics"]
        for name, count in step["resource_metrics"][table].custom_metrics.items()
    }
