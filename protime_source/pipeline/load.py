"""A whole run from the command line: load until all is loaded, then say what came of it."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.configuration.resolve import resolve_configuration
from dlt.common.configuration.specs import known_sections
from dlt.common.pipeline import get_dlt_pipelines_dir
from dlt.pipeline.configuration import PipelineConfiguration
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source.api.pages import Part
from protime_source.catalogue import COLLECTIONS
from protime_source.cli.console import Console
from protime_source.cli.failures import Failure, causes, explain
from protime_source.errors import (
    AlreadyRunningError,
    ApiError,
    SettingsError,
    UnavailableError,
    VanishedRowsError,
)
from protime_source.pipeline.lock import one_run
from protime_source.pipeline.package import Job
from protime_source.pipeline.recovery import load_pending
from protime_source.pipeline.source import NAME, source_of
from protime_source.pipeline.state import resource_state
from protime_source.pipeline.summary import Summary, TableSummary
from protime_source.settings import Settings
from protime_source.sync.bookmark import Bookmark
from protime_source.sync.engine import MAX_WALKS
from protime_source.sync.session import Session
from protime_source.warehouse.dialect import client_of, dialect_of
from protime_source.warehouse.table import count_live

BYTES_PER_PACKAGE = 120 * 2**20
"""JSON of a walk that is loaded at once: what a crash in a long walk can cost. With half as much
again a first load takes a tenth less, but DuckDB merges all of it in memory."""


def load(pipeline: dlt.Pipeline, *, full_resync: bool = False, **settings: Any) -> Summary:
    """Loads what is pending, then what is new, until a walk that was begun is complete.

    Args:
        pipeline: Where to.
        full_resync: Begin a new walk, whatever is remembered.
        **settings: Any of `Settings`, in place of dlt's configuration.

    Returns:
        What was done.

    Raises:
        PipelineStepFailed: When a step fails; `explain` tells why.
        SettingsError: When a setting is missing or wrong.
        UnavailableError: When walks are begun over and over.
        WarehouseError: When the destination is not supported, not installed or not usable.
        AlreadyRunningError: When another run of the pipeline is at work.
    """
    resolved = Settings.from_config(**settings)
    with one_run(pipeline.working_dir), Session(resolved, reads_on=True) as session:
        return _load(pipeline, session, full_resync)


def _load(pipeline: dlt.Pipeline, session: Session, full_resync: bool) -> Summary:
    tables, started = session.settings.collections, time.monotonic()
    dialect, client = dialect_of(pipeline), client_of(pipeline)
    dialect.check(client)
    dialect.prepare(client, pipeline.pipeline_name)
    pending = load_pending(pipeline)
    counts = _load_all(pipeline, session, full_resync)
    refused = tuple(table for table in tables if counts[table]["refused"])
    absent = tuple(table for table in tables if counts[table]["absent"])
    live = count_live(client.sql_client, [t for t in tables if not _is_left_out(counts[t])])
    done = {
        table: TableSummary(counts[table], rows, read_bookmark(pipeline, table))
        for table, rows in live.items()
    }
    seconds = time.monotonic() - started
    return Summary(done, refused, absent, seconds, pending, dialect.place(client))


def _load_all(
    pipeline: dlt.Pipeline, session: Session, full_resync: bool
) -> dict[str, Counter[str]]:
    """Loads until all tables are as Protime has them; what was counted for each.

    Raises:
        UnavailableError: When walks are begun over and over.
    """
    due = session.settings.collections
    counts, begun = {table: Counter[str]() for table in due}, Counter[str]()
    marks = {} if full_resync else _bookmarks(pipeline, due)
    while due:
        loaded = _load_once(pipeline, session, due, full_resync)
        full_resync = False
        now = _bookmarks(pipeline, due)
        begun.update(table for table in due if _walk_id(now[table]) != _walk_id(marks.get(table)))
        _check_walks(begun)
        for table in due:
            counts[table].update(loaded[table])
        due = tuple(table for table in due if _is_due_again(now[table], loaded[table]))
        marks = now
    return counts


def _load_once(
    pipeline: dlt.Pipeline, session: Session, tables: tuple[str, ...], full_resync: bool
) -> dict[str, Counter[str]]:
    job = Job(session, Part(max_bytes=BYTES_PER_PACKAGE), full_resync)
    try:
        pipeline.run(source_of(job, tables))
    except PipelineStepFailed as error:
        for cause in causes(error):
            if isinstance(cause, VanishedRowsError):
                _void_walk(pipeline, cause.table)
        raise
    return {table: Counter(_metrics(pipeline, table)) for table in tables}


def _void_walk(pipeline: dlt.Pipeline, table: str) -> None:
    """What its first parts did not show may be there again: no run must go on with it."""
    mark = read_bookmark(pipeline, table)
    if mark is not None and mark.walking:
        with pipeline.managed_state(extract_state=True) as state:
            mark.void().write(state["sources"][NAME]["resources"][table])
        load_pending(pipeline)


def _is_due_again(mark: Bookmark | None, loaded: Counter[str]) -> bool:
    """What a walk in parts showed first may have changed since: the delta follows at once."""
    is_walking = mark is not None and mark.walking
    return (is_walking or loaded["resumed"] > 0) and not _is_left_out(loaded)


def _check_walks(begun: Counter[str]) -> None:
    if tables := [table for table, walks in begun.items() if walks > MAX_WALKS]:
        raise UnavailableError(
            f"{', '.join(tables)}: {MAX_WALKS + 1} full walks were begun in this run, and each time"
            " the link to go on from was dead when it was followed. Another consumer has probably"
            " started a delta on this collection, and only one can be active: give each its own"
            " client. If there is none, loading takes longer than Protime keeps a link."
        )


def _bookmarks(pipeline: dlt.Pipeline, tables: Iterable[str]) -> dict[str, Bookmark | None]:
    return {table: read_bookmark(pipeline, table) for table in tables}


def _is_left_out(counts: Counter[str]) -> bool:
    return bool(counts["refused"] or counts["absent"])


def _walk_id(mark: Bookmark | None) -> str:
    """What tells one walk from another."""
    return mark.walk_started_at if mark else ""


def main(*, full_resync: bool = False) -> int:
    """Runs the pipeline `protime` and tells a person how it went.

    Args:
        full_resync: Begin a new walk, whatever is remembered.

    Returns:
        The exit code: 0 when all is loaded, 3 when Protime refused some collections, else
        `Failure.exit_code`.
    """
    # An answer waits so long for the thread that decodes others; at Python's own 5 ms a walk with
    # 100 ms a page takes half a percent more.
    sys.setswitchinterval(0.0005)
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps 70 MB that it does not use
    gc.freeze()  # what is imported stays: looking through it took a tenth of a first load
    with Console(sys.stderr) as console:
        pipeline = None
        try:
            folder = _pipelines_dir()
            # In before dlt makes the pipeline: it empties a working folder that has no state yet,
            # and one that another run has just begun to use has none.
            with one_run(os.path.join(folder, NAME), "command"):
                pipeline = _pipeline(folder)
                summary = load(pipeline, full_resync=full_resync)
        except (Exception, KeyboardInterrupt) as error:
            failure = explain(error)
            means = _consequence(failure, pipeline, full_resync=full_resync)
            console.line(f"error: {failure.message} {means}".strip())
            return failure.exit_code
    sys.stdout.write(f"{summary}\n")
    if summary.refusal:
        sys.stderr.write(f"error: {summary.refusal}\n")
        return ApiError.exit_code
    return 0


def _pipelines_dir() -> str:
    """Where dlt keeps the working folders of pipelines, as it is configured for this one."""
    spec = PipelineConfiguration(pipeline_name=NAME)
    configuration = resolve_configuration(spec, sections=(known_sections.PIPELINES, NAME))
    return configuration.pipelines_dir or get_dlt_pipelines_dir()


def _pipeline(folder: str) -> dlt.Pipeline:
    destination = dlt.config.get("destination_type", str) or "duckdb"
    return dlt.pipeline(NAME, folder, destination=destination, dataset_name="protime_data")


def read_bookmark(pipeline: dlt.Pipeline, table: str) -> Bookmark | None:
    """The bookmark that a pipeline last committed for a table; `None` when it has none."""
    return Bookmark.read(resource_state(pipeline.state, NAME, table))


def _metrics(pipeline: dlt.Pipeline, table: str) -> dict[str, int]:
    """The counts of the last run, which the resource left in dlt's trace."""
    extracted = pipeline.last_trace.last_extract_info if pipeline.last_trace else None
    packages = extracted.metrics.values() if extracted else ()
    resources = [step["resource_metrics"] for steps in packages for step in steps]
    return {
        name: count
        for resource in resources
        if table in resource
        for name, count in resource[table].custom_metrics.items()
    }


def _consequence(failure: Failure, pipeline: dlt.Pipeline | None, *, full_resync: bool) -> str:
    """What the failure means for the data."""
    untouched = (SettingsError.exit_code, AlreadyRunningError.exit_code)
    if failure.exit_code in untouched:
        return ""
    if pipeline is None:
        return "Nothing was changed."
    if pipeline.has_pending_data:
        return "What was received is kept; the next run loads it first."
    marks = [mark for mark in _bookmarks(pipeline, COLLECTIONS).values() if mark]
    if any(mark.is_void for mark in marks):
        return "The rows loaded so far are right; the next run walks over everything again."
    if any(mark.walking for mark in marks):
        return "The rows loaded so far are right; the next run goes on from there."
    if full_resync:
        return "Nothing was changed; the full resync has to be asked for again."
    if not marks:
        return "Nothing was changed; the next run begins again."
    return "Nothing was changed; the next run goes on from where the last one ended."
