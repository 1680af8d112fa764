"""The command: runs the pipeline `protime` and says how it went."""

from __future__ import annotations

import gc
import os
import sys

import dlt
import pyarrow as pa
from dlt.common.configuration.resolve import resolve_configuration
from dlt.common.configuration.specs import known_sections
from dlt.common.pipeline import get_dlt_pipelines_dir
from dlt.pipeline.configuration import PipelineConfiguration

from protime_source.catalogue import COLLECTIONS
from protime_source.cli.console import Console, write
from protime_source.configuration import ConfigSections
from protime_source.errors import (
    AlreadyRunningError,
    RefusedCollectionsError,
    SettingsError,
    VanishedRowsError,
)
from protime_source.pipeline.failures import Failure, explain
from protime_source.pipeline.folder import discard_if_damaged
from protime_source.pipeline.load import load, read_bookmark
from protime_source.pipeline.lock import one_run
from protime_source.pipeline.summary import Summary
from protime_source.settings import Settings

PIPELINE = "protime"
DATASET = "protime_data"

PARTLY_LOADED = (RefusedCollectionsError, VanishedRowsError)
"""Errors of a run that loaded all other collections."""


def main(*, full_resync: bool = False) -> int:
    """Runs the pipeline `protime` and tells a person how it went.

    Args:
        full_resync: Load fully from the start, whatever is remembered.

    Returns:
        The exit code: 0 when all is loaded, 3 or 5 when only some collections are, else
        `Failure.exit_code`.
    """
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps 70 MB that it does not use
    gc.freeze()  # what is imported stays: looking through it took a tenth of a first load
    with Console(sys.stderr) as console:
        pipeline = None
        try:
            # Checked before dlt makes a folder: where the first run starts decides where the
            # warehouse lies, so a run that cannot begin must leave nothing.
            Settings.from_config(sections=ConfigSections(pipeline_name=PIPELINE))
            folder = _pipelines_dir()
            # Locked before dlt makes the pipeline: it empties a working folder without state, and
            # a folder that another run has just begun to use has none.
            with one_run(os.path.join(folder, PIPELINE)):
                discard_if_damaged(os.path.join(folder, PIPELINE))
                destination = dlt.config.get("destination_type", str) or "duckdb"
                pipeline = dlt.pipeline(
                    PIPELINE, folder, destination=destination, dataset_name=DATASET
                )
                summary = load(pipeline, full_resync=full_resync)
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, PARTLY_LOADED) and isinstance(error.summary, Summary):
                if error.summary.tables:
                    write(sys.stdout, f"{error.summary}\n")
                console.line(f"error: {error}")
                return error.exit_code
            failure = explain(error)
            consequence = _consequence(failure, pipeline, full_resync=full_resync)
            console.line(f"error: {failure.message} {consequence}".strip())
            return failure.exit_code
    write(sys.stdout, f"{summary}\n")
    return 0


def _pipelines_dir() -> str:
    """Where dlt keeps the working folders of pipelines, as it is configured for this one."""
    spec = PipelineConfiguration(pipeline_name=PIPELINE)
    configuration = resolve_configuration(spec, sections=(known_sections.PIPELINES, PIPELINE))
    return configuration.pipelines_dir or get_dlt_pipelines_dir()


def _consequence(failure: Failure, pipeline: dlt.Pipeline | None, *, full_resync: bool) -> str:
    """What the failure means for the data."""
    untouched = (SettingsError.exit_code, AlreadyRunningError.exit_code)
    if failure.exit_code in untouched:
        return ""
    if pipeline is None:
        return "Nothing was changed."
    if pipeline.has_pending_data:
        return "What was received is kept; the next run loads it first."
    found = [read_bookmark(pipeline, table) for table in COLLECTIONS]
    bookmarks = [bookmark for bookmark in found if bookmark]
    if any(bookmark.is_invalidated for bookmark in bookmarks):
        return "The rows loaded so far are right; the next run loads fully from the start."
    if any(bookmark.full_load_in_progress for bookmark in bookmarks):
        return "The rows loaded so far are right; the next run resumes from there."
    if full_resync:
        return "Nothing was changed; pass --full-resync again."
    if not bookmarks:
        return "Nothing was changed; the next run starts from the beginning."
    return "Nothing was changed; the next run continues from where the last one ended."
