"""A command's work with a pipeline: what it needs before, and what a failure means after."""

from __future__ import annotations

import argparse
import atexit
import gc
import sys
from collections.abc import Callable
from typing import Any

import dlt
import pyarrow as pa

from protime_source.catalogue import COLLECTIONS
from protime_source.cli.console import Console
from protime_source.cli.json_log import JsonConsole, is_wanted
from protime_source.configuration import ConfigSections
from protime_source.errors import (
    AlreadyRunningError,
    PublishError,
    RefusedCollectionsError,
    SettingsError,
    VanishedRowsError,
)
from protime_source.pipeline.failures import Failure, explain
from protime_source.pipeline.folder import discard_if_damaged
from protime_source.pipeline.lock import one_run
from protime_source.pipeline.opening import looked_at, open_pipeline, pipelines_dir, working_dir
from protime_source.pipeline.states import read_bookmarks
from protime_source.settings import Settings, __version__

PARTLY_LOADED = (RefusedCollectionsError, VanishedRowsError, PublishError)
"""Errors of a run that loaded all other collections, or all without a new copy for readers."""


_UNTOUCHED = (SettingsError.exit_code, AlreadyRunningError.exit_code)
"""Exit codes of what ends before anything is changed; the message says so."""


def selected(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the collections that a person named, as a setting; nothing if none was named."""
    named = getattr(arguments, "collections", None)  # a command may have no say in them
    return {"collections": named} if named else {}


def open_console(*, in_place: bool = True) -> Console:
    """Returns what shows a command's work: to people, or to a collector of logs.

    Args:
        in_place: Whether a terminal shows progress in place.
    """
    return JsonConsole(sys.stderr) if is_wanted() else Console(sys.stderr, in_place=in_place)


def use_little_memory() -> None:
    """Prepares this process for loads; once."""
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps 70 MB that it does not use
    gc.freeze()  # what is imported stays: looking through it took a tenth of a first load
    # A process of Python 3.14 that has imported DuckDB aborts when it ends with frozen objects.
    atexit.register(gc.unfreeze)


def with_pipeline(
    arguments: argparse.Namespace,
    work: Callable[[dlt.Pipeline, Console], int],
    *,
    full_resync: bool = False,
    consequence: str = "",
) -> int:
    """Opens the pipeline that the arguments name, and does a command's work with it.

    Args:
        arguments: The command's.
        work: Shows what it did, and returns the exit code.
        full_resync: Whether the work loads fully from the start.
        consequence: What a failure means for the data, unless its notes say more; by default, what
            it means for a run.

    Returns:
        The exit code: that of the work, or of what failed.
    """
    use_little_memory()
    name = arguments.pipeline
    with open_console() as console:
        pipeline = None
        try:
            # Checked before dlt makes a folder: where the first run starts decides where the
            # warehouse lies, so a run that cannot begin must leave nothing.
            sections = ConfigSections(pipeline_name=name)
            settings = Settings.from_config(sections=sections, **selected(arguments))
            console.begin(
                settings.collections,
                pipeline=name,
                dataset=arguments.dataset,
                package_version=__version__,
            )
            folder = pipelines_dir(name)
            # Locked before dlt makes the pipeline: it empties a working folder without state, and
            # a folder that another run has just begun to use has none.
            with one_run(working_dir(name)):
                discard_if_damaged(working_dir(name))
                pipeline = open_pipeline(name, folder, arguments.destination, arguments.dataset)
                return work(pipeline, console)
        except (Exception, KeyboardInterrupt) as error:
            failure = explain(error)
            meaning = ""
            if not isinstance(error, PARTLY_LOADED) and failure.exit_code not in _UNTOUCHED:
                meaning = " ".join(getattr(error, "__notes__", ())) or consequence
                meaning = meaning or _consequence(failure, pipeline, full_resync=full_resync)
            console.fail(f"{failure.message} {meaning}".strip(), failure.exit_code)
            return failure.exit_code


def with_warehouse(
    arguments: argparse.Namespace, look: Callable[[dlt.Pipeline, Console], int]
) -> int:
    """Opens the pipeline that the arguments name, for a command that loads nothing.

    Args:
        arguments: The command's.
        look: Shows what it saw or did, and returns the exit code.

    Returns:
        The exit code: that of the look, or of what failed.
    """
    warehouse = (arguments.pipeline, arguments.destination, arguments.dataset)
    with open_console() as console:
        try:
            with looked_at(*warehouse) as pipeline:
                return look(pipeline, console)
        except (Exception, KeyboardInterrupt) as error:
            failure = explain(error)
            console.fail(failure.message, failure.exit_code)
            return failure.exit_code


def _consequence(failure: Failure, pipeline: dlt.Pipeline | None, *, full_resync: bool) -> str:
    """What the failure means for the data."""
    if "Nothing was read or changed." in failure.message:
        return ""
    if pipeline is None:
        return "Nothing was changed."
    if pipeline.has_pending_data:
        return "What was received is kept; the next run loads it first."
    bookmarks = [each for each in read_bookmarks(pipeline, COLLECTIONS).values() if each]
    if any(bookmark.is_invalidated for bookmark in bookmarks):
        return "The rows loaded so far are right; the next run loads fully from the start."
    if any(bookmark.full_load_in_progress for bookmark in bookmarks):
        return "The rows loaded so far are right; the next run resumes from there."
    if full_resync:
        return "Nothing was changed; pass --full-resync again."
    if not bookmarks:
        return "Nothing was changed; the next run starts from the beginning."
    return "Nothing was changed; the next run continues from where the last one ended."
