"""A whole run: load what is pending, then what is new, until every collection is complete."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import dlt
from dlt.common.pipeline import LoadInfo

from protime_source.api.http import HttpClient
from protime_source.api.redaction import redacted_errors
from protime_source.configuration import ConfigSections
from protime_source.errors import (
    AlreadyRunningError,
    PublishError,
    RefusedCollectionsError,
    UnavailableError,
    VanishedRowsError,
    WarehouseError,
)
from protime_source.pipeline.failures import ledger_line
from protime_source.pipeline.folder import discard_if_damaged, remove_unfinished
from protime_source.pipeline.hooks import HOOKS, OVERLAP, register
from protime_source.pipeline.lock import (
    keep_open,
    let_readers_in,
    one_run,
    one_run_on_dataset,
)
from protime_source.pipeline.publishing import check_publishing, publish
from protime_source.pipeline.recovery import load_pending
from protime_source.pipeline.source import source_of
from protime_source.pipeline.states import NAME, read_bookmark, read_bookmarks
from protime_source.pipeline.summary import Summary, TableSummary
from protime_source.pipeline.waits import bounded_waits
from protime_source.settings import Settings
from protime_source.sync.bookmark import Bookmark
from protime_source.sync.context import Limits, RunContext
from protime_source.sync.engine import MAX_FULL_LOADS
from protime_source.warehouse.dialect import client_of, dialect_of

PACKAGE_BYTES = 120 * 2**20
"""JSON of a full load that is loaded at once: what a crash in a long full load can cost. With half
as much again a first load takes a tenth less, but DuckDB merges all of it in memory."""


def load(pipeline: dlt.Pipeline, *, full_resync: bool = False, **settings: Any) -> Summary:
    """Loads what is pending, then what is new, until each full load that was begun is complete.

    A collection that Protime refuses, or that the guard stops, does not stop the others.

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
        VanishedRowsError: When too many rows vanished from some; the others are loaded.
        PublishError: When all is loaded, but there is no new copy for readers.
        WarehouseError: When the destination is not supported, not installed or not usable.
        AlreadyRunningError: When another run is at work, on the pipeline or on the dataset.
    """
    sections = ConfigSections(pipeline_name=pipeline.pipeline_name)
    resolved = Settings.from_config(sections=sections, **settings)
    return load_with(pipeline, resolved, HttpClient(resolved), full_resync=full_resync)


def load_with(
    pipeline: dlt.Pipeline,
    settings: Settings,
    http: HttpClient,
    *,
    full_resync: bool = False,
    is_short: bool = False,
) -> Summary:
    """Does what `load` does, with an HTTP client whose tokens other runs use too.

    Args:
        pipeline: The pipeline to load with.
        settings: The settings.
        http: The client; its connections are closed at the end.
        full_resync: Load fully from the start, whatever is remembered.
        is_short: Whether the run is probably so short that a file may stay open from its start to
            its end, also while Protime is asked.
    """
    register()
    dialect = dialect_of(pipeline)
    run = RunContext(
        settings,
        http,
        Limits(max_bytes=PACKAGE_BYTES * dialect.package_factor),
        full_resync,
        keeps_prefetchers=True,
        stops_alone=True,
    )
    with redacted_errors(), one_run(pipeline.working_dir), bounded_waits(pipeline), run:
        if discard_if_damaged(pipeline.working_dir):
            pipeline.drop()
        remove_unfinished(pipeline.working_dir)
        patience = settings.lock_timeout
        client = client_of(pipeline, patience)
        dialect.check(client)
        check_publishing(settings, dialect, client)
        run.destination_checked = True
        dialect.prepare(client, pipeline.pipeline_name)
        with one_run_on_dataset(pipeline, patience, client):
            keep_open(pipeline)
            with dialect.kept_open(client) if is_short else nullcontext():
                summary = _load(pipeline, run, dialect.location(client))
            let_readers_in(pipeline)
            summary = _published(summary, pipeline, settings)
    if run.guarded:
        raise VanishedRowsError(summary.problem, next(iter(run.guarded)), summary)
    if run.refusals:
        raise RefusedCollectionsError(summary.problem, tuple(run.refusals), summary)
    if summary.unpublished:
        raise PublishError(summary.problem, summary)
    return summary


def _load(pipeline: dlt.Pipeline, run: RunContext, place: str) -> Summary:
    """Loads what is pending, then all else; the ledger is closed also when that fails."""
    started = time.monotonic()
    pending = load_pending(pipeline, run.settings.lock_timeout)
    try:
        load_all(_Pipeline(pipeline, run), run)
    except BaseException:
        let_readers_in(pipeline)  # a connection that is lost would lose the ledger's last word too
        raise
    finally:
        rows = run.ledger.close(run) if run.ledger is not None else {}
    stopped = {*run.refusals, *run.guarded}
    bookmarks = read_bookmarks(pipeline, run.settings.collections)
    return Summary(
        tables={
            table: TableSummary(run.totals[table].counts, rows[table], bookmarks[table])
            for table in run.settings.collections
            if table in run.totals and table not in stopped
        },
        refusals=run.refusals,
        guarded=run.guarded,
        seconds=time.monotonic() - started,
        pending=pending,
        place=place,
    )


def _published(summary: Summary, pipeline: dlt.Pipeline, settings: Settings) -> Summary:
    """The summary with the copy for readers, which follows a run that loaded something."""
    try:
        published_to = publish(pipeline, settings) if summary.tables else ""
    except PublishError as error:
        return replace(summary, unpublished=str(error))
    return replace(summary, published_to=published_to)


class Packages(Protocol):
    """The load packages of one run, one after the other."""

    def load(self, table_names: Sequence[str]) -> None:
        """Extracts the next package of some tables, and loads it."""
        ...

    def bookmarks(self, table_names: Sequence[str]) -> dict[str, Bookmark | None]:
        """Returns the bookmarks that were last committed for some tables, as far as they exist."""
        ...

    def invalidate(self, table_name: str) -> None:
        """Commits that the full load of a table must not be resumed."""
        ...

    @property
    def advice(self) -> str:
        """What a person can do when a working folder does not work."""
        ...


def load_all(packages: Packages, run: RunContext) -> None:
    """Loads until all tables are complete.

    Args:
        packages: The load packages of the run.
        run: The run, whose counts and errors it keeps up.

    Raises:
        UnavailableError: When full loads have to be restarted again and again.
        WarehouseError: When a full load does not get on.
    """
    due, full_loads = run.settings.collections, Counter[str]()
    bookmarks = {} if run.full_resync else packages.bookmarks(due)
    while due:
        try:
            packages.load(due)
        except BaseException as error:
            for table in due:
                run.errors.setdefault(table, ledger_line(error))
            raise
        continued = {table for table, counts in run.package.items() if counts.continues}
        run.package_loaded()
        run.full_resync = False
        for table in run.guarded.keys() & due:
            run.errors[table] = ledger_line(run.guarded[table])
            # Rows that its first parts did not show may be back by then.
            if _is_in_progress(packages.bookmarks([table])[table]):
                packages.invalidate(table)
        before, bookmarks = bookmarks, packages.bookmarks(due)
        stopped = {*run.refusals, *run.guarded}
        for table in (each for each in due if each not in stopped):
            if _is_in_progress(bookmarks[table]) and bookmarks[table] == before.get(table):
                raise WarehouseError(
                    f"{table}: the full load did not get on, although a part of it was loaded. The"
                    f" rows loaded so far are right. {packages.advice}"
                )
        for table in due:
            full_loads[table] += _full_load_id(bookmarks[table]) != _full_load_id(before.get(table))
        if failing := [table for table, begun in full_loads.items() if begun > MAX_FULL_LOADS]:
            problem = UnavailableError(
                f"{', '.join(failing)}: {MAX_FULL_LOADS + 1} full loads were started in this run,"
                " and each time the link to continue from had expired when it was followed."
                " Another consumer has probably started a delta on this collection, and only one"
                " can be active: give each its own client. If there is none, loading takes longer"
                " than Protime keeps a link."
            )
            run.errors |= dict.fromkeys(failing, str(problem))
            raise problem
        due = tuple(table for table in due if table in continued and table not in stopped)


@dataclass(frozen=True)
class _Pipeline:
    """The load packages of a run of dlt's pipeline.

    Attributes:
        pipeline: The pipeline.
        run: The run.
    """

    pipeline: dlt.Pipeline
    run: RunContext

    def load(self, table_names: Sequence[str]) -> None:
        with bounded_waits(self.pipeline):
            loaded = self.pipeline.run(source_of(self.run, table_names))
        _check_loaded(self.pipeline, loaded)

    def bookmarks(self, table_names: Sequence[str]) -> dict[str, Bookmark | None]:
        return read_bookmarks(self.pipeline, table_names)

    def invalidate(self, table_name: str) -> None:
        bookmark = read_bookmark(self.pipeline, table_name)
        if bookmark is not None:
            with self.pipeline.managed_state(extract_state=True) as state:
                bookmark.invalidated().write(state["sources"][NAME]["resources"][table_name])
            load_pending(self.pipeline, self.run.settings.lock_timeout)

    @property
    def advice(self) -> str:
        return _folder_advice(self.pipeline)


def _check_loaded(pipeline: dlt.Pipeline, loaded: LoadInfo | None) -> None:
    """Checks that the destination has all that was extracted, unless that was nothing.

    Raises:
        AlreadyRunningError: When another run changed the dataset meanwhile.
        WarehouseError: When dlt left it in its working folder.
    """
    if HOOKS.was_overlapped(pipeline):
        raise AlreadyRunningError(OVERLAP)
    trace = pipeline.last_trace
    normalized = trace.last_normalize_info if trace else None
    if not normalized or set(normalized.loads_ids) <= set(loaded.loads_ids if loaded else ()):
        return
    if pipeline.has_pending_data:
        raise WarehouseError(
            "dlt did not load what this run received, because its working folder does not fit it."
            f" Nothing was changed. {_folder_advice(pipeline)}"
        )
    raise AlreadyRunningError(
        "Another run changed the dataset while this one read from Protime, so what this one"
        " received was thrown away. Nothing was changed. It is not needed, or start it again when"
        " the other has ended."
    )


def _folder_advice(pipeline: dlt.Pipeline) -> str:
    return f"Delete the folder {pipeline.working_dir}, which nothing is lost with, then run again."


def _is_in_progress(bookmark: Bookmark | None) -> bool:
    return bookmark is not None and bookmark.full_load_in_progress


def _full_load_id(bookmark: Bookmark | None) -> str:
    return bookmark.full_load_started_at if bookmark else ""
