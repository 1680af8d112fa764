"""What an earlier run left behind: load packages, and state that the destination does not have."""

from __future__ import annotations

import dlt
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source.errors import WarehouseError
from protime_source.pipeline.discards import (
    discard_all,
    discard_edited,
    discard_outdated,
    discard_refused,
)
from protime_source.warehouse.dialect import PATIENCE_SECONDS


def load_pending(pipeline: dlt.Pipeline, patience_seconds: float = PATIENCE_SECONDS) -> int:
    """Loads the packages of an earlier run: dlt would load them, and then not extract.

    What the destination refused twice, and what dlt cannot load, is thrown away: its rows are
    asked for again.

    Args:
        pipeline: The pipeline that they belong to.
        patience_seconds: How long to wait for a DuckDB file that another program has open.

    Returns:
        How many packages were loaded, or had been loaded and not put away.

    Raises:
        PipelineStepFailed: When one cannot be loaded now.
        WarehouseError: When one of another source cannot be loaded.
    """
    _complete_folders(pipeline)
    _drop_twins(pipeline)
    packages = _archive_loaded(pipeline)
    discard_outdated(pipeline, patience_seconds)
    discard_edited(pipeline, patience_seconds)
    while pending := _pending_ids(pipeline):
        try:
            pipeline.run()
        except PipelineStepFailed:
            if not discard_refused(pipeline, patience_seconds):
                raise
            break
        left = _pending_ids(pipeline)
        packages += len(pending - left)
        if pending <= left and not discard_all(
            pipeline, patience_seconds, "dlt cannot load it with what its working folder holds."
        ):
            raise WarehouseError(
                f"Load packages of another source are pending in {pipeline.working_dir}, and dlt"
                " does not load them. Nothing was asked of Protime. Run that source, or drop them:"
                f" `dlt pipeline {pipeline.pipeline_name} abort-packages`."
            )
    if packages:
        # A kill between package and state leaves the working folder's state behind the package's.
        pipeline.sync_destination()
    return packages


def _pending_ids(pipeline: dlt.Pipeline) -> set[str]:
    return {*pipeline.list_extracted_load_packages(), *pipeline.list_normalized_load_packages()}


def _complete_folders(pipeline: dlt.Pipeline) -> None:
    """Makes the folders that a kill kept dlt from making; without them it lists no package."""
    for storage in (pipeline._get_normalize_storage(), pipeline._get_load_storage()):
        if storage.is_storage_ready():
            storage.initialize_storage()


def _drop_twins(pipeline: dlt.Pipeline) -> None:
    """Drops extracted packages that are normalized already.

    A kill between the two leaves both, and dlt then fails each time to normalize it once more.
    """
    normalized = set(pipeline.list_normalized_load_packages())
    for load_id in normalized.intersection(pipeline.list_extracted_load_packages()):
        pipeline._get_normalize_storage().extracted_packages.delete_package(load_id)


def _archive_loaded(pipeline: dlt.Pipeline) -> int:
    """Archives packages that are loaded and marked as completed.

    A kill between mark and move leaves them, and dlt then fails each time to mark them once more.
    """
    load = pipeline._get_load_storage()
    packages = load.normalized_packages
    left = pipeline.list_normalized_load_packages()
    completed = [load_id for load_id in left if packages.is_package_completed(load_id)]
    for load_id in completed:
        source = load.get_normalized_package_path(load_id)
        load.storage.rename_tree(source, load.get_loaded_package_path(load_id))
        load.maybe_remove_completed_jobs(load_id)
    return len(completed)
