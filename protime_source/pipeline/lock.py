"""One run at a time: two on one pipeline would load each other's half-written files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from protime_source.errors import AlreadyRunningError


@contextmanager
def one_run(working_dir: str) -> Iterator[None]:
    """Holds the pipeline's lock for as long as the context lasts.

    Args:
        working_dir: The pipeline's working folder, which need not exist.

    Raises:
        AlreadyRunningError: When another process or thread holds it.
    """
    lock = acquire(working_dir)
    try:
        yield
    finally:
        lock.release()


def acquire(working_dir: str) -> FileLock:
    """Acquires the pipeline's lock; re-entrant within a thread. It ends with the process.

    The lock's file lies beside the working folder, which may be deleted during a run.

    Args:
        working_dir: The pipeline's working folder, which need not exist.

    Raises:
        AlreadyRunningError: When another process or thread holds it.
    """
    folder = Path(working_dir).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0, is_singleton=True)
    try:
        lock.acquire()
    except Timeout:
        raise AlreadyRunningError(
            f"Another run of the pipeline {folder.name} is at work in {working_dir}. This one did"
            " nothing. It is not needed, or start it again when the other has ended."
        ) from None
    return lock
