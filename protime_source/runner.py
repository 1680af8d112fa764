"""A whole run from the command line: load until all is loaded, then say what came of it."""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import dlt

from protime_source.bookmark import Bookmark
from protime_source.catalogue import COLLECTIONS
from protime_source.collections import Collection
from protime_source.console import Console
from protime_source.dialects import dialect_of
from protime_source.errors import AlreadyRunningError, ApiError, SettingsError
from protime_source.failures import Failure, explain
from protime_source.lock import one_run
from protime_source.pending import load_pending
from protime_source.settings import Settings
from protime_source.source import NAME, protime
from protime_source.summary import Summary, TableSummary
from protime_source.warehouse import count_live

PAGES_PER_PACKAGE = 250
"""Pages of a walk that are loaded at once: what a crash in a long walk can cost. A thousand would
load a tenth faster, but DuckDB takes 150 MB more for the merge of so many rows."""


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
        AlreadyRunningError: When another process runs the pipeline.
    """
    tables = Settings.from_config(**settings).collections
    settings.pop("collections", None)
    with one_run(pipeline):
        return _load(pipeline, tables, full_resync, settings)


def _load(
    pipeline: dlt.Pipeline, tables: tuple[str, ...], full_resync: bool, settings: dict[str, Any]
) -> Summary:
    started, counts = time.monotonic(), {table: Counter[str]() for table in tables}
    dialect_of(pipeline).prepare(pipeline)
    pending = load_pending(pipeline)
    due, walking = tables, frozenset[str]()
    if not full_resync:
        walking = _walking(pipeline, due)
    while due:
        pipeline.run(
            protime(*due, max_pages=PAGES_PER_PACKAGE, full_resync=full_resync, **settings)
        )
        full_resync = False
        for table in due:
            counts[table].update(_metrics(pipeline, table))
        # What a walk in parts showed first may have changed since: the delta follows at once.
        still = _walking(pipeline, due)
        due = tuple(t for t in due if t in still | walking and not counts[t]["refused"])
        walking = still
    refused = tuple(table for table in tables if counts[table]["refused"])
    live = count_live(pipeline, [table for table in tables if table not in refused])
    done = {
        table: TableSummary(counts[table], rows, read_bookmark(pipeline, COLLECTIONS[table]))
        for table, rows in live.items()
    }
    place = f"{pipeline.destination_client().config.data_location()}, dataset {NAME}"
    return Summary(done, refused, time.monotonic() - started, pending, place)


def _walking(pipeline: dlt.Pipeline, tables: Iterable[str]) -> frozenset[str]:
    """The tables whose walk is not complete."""
    marks = {table: read_bookmark(pipeline, COLLECTIONS[table]) for table in tables}
    return frozenset(table for table, mark in marks.items() if mark and mark.walking)


def main(*, full_resync: bool = False) -> int:
    """Runs the pipeline `protime` and tells a person how it went.

    Args:
        full_resync: Begin a new walk, whatever is remembered.

    Returns:
        The exit code: 0 when all is loaded, 3 when Protime refused some collections, else
        `Failure.exit_code`.
    """
    gc.freeze()  # what is imported stays: looking through it took a tenth of a first load
    with Console(sys.stderr) as console:
        pipeline = None
        try:
            destination = dlt.config.get("destination_type", str) or "duckdb"
            pipeline = dlt.pipeline(NAME, destination=destination, dataset_name=NAME)
            summary = load(pipeline, full_resync=full_resync)
        except (Exception, KeyboardInterrupt) as error:
            failure = explain(error)
            console.line(f"error: {failure.message} {_consequence(failure, pipeline)}".strip())
            return failure.exit_code
    sys.stdout.write(f"{summary}\n")
    if summary.refusal:
        sys.stderr.write(f"error: {summary.refusal}\n")
        return ApiError.exit_code
    return 0


def read_bookmark(pipeline: dlt.Pipeline, collection: Collection) -> Bookmark | None:
    """The bookmark that a pipeline last committed for a collection; `None` when it has none."""
    sources: dict[str, Any] = pipeline.state.get("sources", {})
    state = sources.get(NAME, {}).get("resources", {}).get(collection.table, {})
    return Bookmark.read(state)


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


def _consequence(failure: Failure, pipeline: dlt.Pipeline | None) -> str:
    """What the failure means for the data."""
    untouched = (SettingsError.exit_code, AlreadyRunningError.exit_code)
    if failure.exit_code in untouched or pipeline is None:
        return ""
    if pipeline.has_pending_data:
        return "What was received is kept; the next run loads it first."
    if _walking(pipeline, COLLECTIONS):
        return "The rows loaded so far are right; the next run goes on from there."
    return "Nothing was changed; the next run goes on from where the last one ended."
