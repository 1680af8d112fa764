"""Load packages that a run left behind when it was stopped."""

from __future__ import annotations

import dlt


def load_pending(pipeline: dlt.Pipeline) -> int:
    """Loads what an earlier run left behind: dlt would load it, and then not extract.

    Args:
        pipeline: Where to.

    Returns:
        How many packages were left.
    """
    _complete_folders(pipeline)
    _drop_twins(pipeline)
    packages = _archive_loaded(pipeline)
    while pipeline.has_pending_data:
        packages += len(pipeline.list_extracted_load_packages())
        packages += len(pipeline.list_normalized_load_packages())
        pipeline.run()
    if packages:
        # A kill between package and state leaves the working folder's state behind the package's.
        pipeline.sync_destination()
    return packages


def _complete_folders(pipeline: dlt.Pipeline) -> None:
    """Makes the folders that a kill kept dlt from making, and without which it lists no package."""
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
    """Puts packages away that are loaded and marked so.

    A kill between mark and move leaves them, and dlt then fails each time to mark them once more.
    """
    load = pipeline._get_load_storage()
    packages = load.normalized_packages
    left = pipeline.list_normalized_load_packages()
    marked = [load_id for load_id in left if packages.is_package_completed(load_id)]
    for load_id in marked:
        source = load.get_normalized_package_path(load_id)
        load.storage.rename_tree(source, load.get_loaded_package_path(load_id))
        load.maybe_remove_completed_jobs(load_id)
    return len(marked)
