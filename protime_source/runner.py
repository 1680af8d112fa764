"""A whole run from the command line: load until all is loaded, then say what came of it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import dlt

from protime_source.bookmark import Bookmark
from protime_source.collections import ASSIGNMENTS, Collection
from protime_source.console import Console
from protime_source.dialects import dialect_of
from protime_source.errors import AlreadyRunningError, SettingsError
from protime_source.failures import Failure, explain
from protime_source.lock import one_run
from protime_source.pending import load_pending
from protime_source.settings import Settings
from protime_source.source import NAME, protime
from protime_source.warehouse import Warehouse

PAGES_PER_PACKAGE = 250
"""Pages of a walk that are loaded at once: what a crash in a long walk can cost."""


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        table: The table.
        counts: dlt's metrics of all its packages, added up.
        live: Rows now live.
        seconds: How long it took.
        bookmark: Where the next run goes on.
        pending: Packages of an earlier run that were loaded first.
        place: The destination, in words.
    """

    table: str
    counts: Counter[str]
    live: int
    seconds: float
    bookmark: Bookmark
    pending: int
    place: str

    def __str__(self) -> str:
        """A table to read at a glance."""
        names = ("received", "merged", "marked", "ignored")
        titles = ("received", "merged", "marked deleted", "ignored as stale", "rows now live")
        values = [*(self.counts[name] for name in names), self.live]
        head = "  ".join([" " * len(self.table), *titles])
        row = "  ".join(
            [self.table, *(f"{v:>{len(t)},}" for v, t in zip(values, titles, strict=True))]
        )
        return f"{head}\n{row}\n{self._footer()}"

    def _footer(self) -> str:
        requests = self.counts["requests"]
        noun = "request" if requests == 1 else "requests"
        until = f"{self.bookmark.expires:%Y-%m-%d %H:%M} UTC"
        first = " What an earlier run had left was loaded first." if self.pending else ""
        return (
            f"{requests:,} {noun} in {self.seconds:.1f} s.{first}\nLoaded into {self.place}."
            f" The delta expires {until}, unless a run uses it before."
        )


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
    Settings.from_config(**settings)
    with one_run(pipeline):
        return _load(pipeline, full_resync, settings)


def _load(pipeline: dlt.Pipeline, full_resync: bool, settings: dict[str, Any]) -> Summary:
    started, counts = time.monotonic(), Counter[str]()
    dialect_of(pipeline).prepare(pipeline)
    pending = load_pending(pipeline)
    bookmark = None if full_resync else read_bookmark(pipeline, ASSIGNMENTS)
    while True:
        # What a walk in parts showed first may have changed since: the delta follows at once.
        is_resumed = bookmark is not None and bookmark.walking
        pipeline.run(protime(max_pages=PAGES_PER_PACKAGE, full_resync=full_resync, **settings))
        full_resync = False
        counts.update(_metrics(pipeline, ASSIGNMENTS))
        bookmark = read_bookmark(pipeline, ASSIGNMENTS)
        if bookmark is not None and not bookmark.walking and not is_resumed:
            break
    columns = pipeline.schemas[NAME].get_table_columns(ASSIGNMENTS.table)
    live = Warehouse(pipeline, ASSIGNMENTS.table, columns).live()
    seconds = time.monotonic() - started
    place = f"{pipeline.destination_client().config.data_location()}, dataset {NAME}"
    return Summary(ASSIGNMENTS.table, counts, live, seconds, bookmark, pending, place)


def main(*, full_resync: bool = False) -> int:
    """Runs the pipeline `protime` and tells a person how it went.

    Args:
        full_resync: Begin a new walk, whatever is remembered.

    Returns:
        The exit code: 0 when all is loaded, else `Failure.exit_code`.
    """
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
    return 0


def read_bookmark(pipeline: dlt.Pipeline, collection: Collection) -> Bookmark | None:
    """The bookmark that a pipeline last committed for a collection; `None` when it has none."""
    sources: dict[str, Any] = pipeline.state.get("sources", {})
    state = sources.get(NAME, {}).get("resources", {}).get(collection.table, {})
    return Bookmark.read(state)


def _metrics(pipeline: dlt.Pipeline, collection: Collection) -> dict[str, int]:
    """The counts of the last run, which the resource left in dlt's trace."""
    extracted = pipeline.last_trace.last_extract_info if pipeline.last_trace else None
    packages = extracted.metrics.values() if extracted else ()
    resources = [step["resource_metrics"] for steps in packages for step in steps]
    return {
        name: count
        for resource in resources
        if collection.table in resource
        for name, count in resource[collection.table].custom_metrics.items()
    }


def _consequence(failure: Failure, pipeline: dlt.Pipeline | None) -> str:
    """What the failure means for the data."""
    untouched = (SettingsError.exit_code, AlreadyRunningError.exit_code)
    if failure.exit_code in untouched or pipeline is None:
        return ""
    if pipeline.has_pending_data:
        return "What was received is kept; the next run loads it first."
    bookmark = read_bookmark(pipeline, ASSIGNMENTS)
    if bookmark is not None and bookmark.walking:
        return "The rows loaded so far are right; the next run goes on from there."
    return "Nothing was changed; the next run goes on from where the last one ended."
