"""One run at a time: on a working folder, whose files two would mix up, and on a dataset."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import dlt
from filelock import FileLock, Timeout

from protime_source.errors import AlreadyRunningError
from protime_source.warehouse.dialect import client_of, dialect_of

logger = logging.getLogger(__name__)

_held_datasets: set[tuple[str, str]] = set()
"""Working folder and dataset of the runs at work in this process."""


@contextmanager
def one_run_on_dataset(pipeline: dlt.Pipeline, patience_seconds: float) -> Iterator[None]:
    """Holds the pipeline's lock, and its dataset, for as long as the context lasts.

    Args:
        pipeline: The pipeline.
        patience_seconds: How long to wait for a DuckDB file that another program has open.

    Raises:
        AlreadyRunningError: When another run holds one of them.
    """
    with one_run(pipeline.working_dir):
        # Whoever holds the folder's lock is the one that holds the dataset, if it is held.
        key = (pipeline.working_dir, str(pipeline.dataset_name))
        if key in _held_datasets:
            yield
            return
        holder = _identity(pipeline.working_dir)
        client = client_of(pipeline, patience_seconds)
        with dialect_of(pipeline).one_run(client, holder):
            _held_datasets.add(key)
            try:
                yield
            finally:
                _held_datasets.discard(key)


def _identity(working_dir: str) -> str:
    """What identifies the working folder among those of all machines; in a file beside it."""
    file = _beside(working_dir, "id")
    if not file.exists():
        file.write_text(uuid4().hex)
    return file.read_text()


def _beside(working_dir: str, ending: str) -> Path:
    """A file beside the working folder, which may be deleted during a run."""
    folder = Path(working_dir).absolute()
    return folder.with_name(f".{folder.name}.{ending}")


@contextmanager
def one_run(working_dir: str, patience_seconds: float = 0) -> Iterator[None]:
    """Holds the pipeline's lock for as long as the context lasts.

    Args:
        working_dir: The pipeline's working folder, which need not exist.
        patience_seconds: How long to wait for another run to end.

    Raises:
        AlreadyRunningError: When another process or thread holds it.
    """
    lock = _acquire(working_dir, patience_seconds)
    try:
        yield
    finally:
        lock.release()


def _acquire(working_dir: str, patience_seconds: float) -> FileLock:
    """Acquires the pipeline's lock; re-entrant within a thread. It ends with the process."""
    file = _beside(working_dir, "lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, timeout=0, is_singleton=True)
    try:
        if patience_seconds and _is_held(lock):
            logger.warning(
                "waiting up to %.0f s for another run of this pipeline to end", patience_seconds
            )
        lock.acquire(timeout=patience_seconds)
    except Timeout:
        raise AlreadyRunningError(
            f"Another run of the pipeline {Path(working_dir).name} is at work in {working_dir}."
            " This one did nothing. It is not needed, or start it again when the other has ended."
        ) from None
    return lock


def _is_held(lock: FileLock) -> bool:
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True
