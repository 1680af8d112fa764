"""One run at a time: on a working folder, whose files two would mix up, and on a dataset."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from uuid import uuid4

import dlt
from filelock import FileLock, Timeout

from protime_source.errors import AlreadyRunningError
from protime_source.warehouse.dialect import Client, Dialect, client_of, dialect_of

logger = logging.getLogger(__name__)

_held_datasets: dict[tuple[str, str, int], _HeldDataset] = {}
"""Those of the runs at work in this process, by working folder, name and destination."""


class _HeldDataset:
    """A dataset that a run holds, and keeps open while it does not wait for Protime.

    Args:
        dialect: The destination's.
        client: The client that all parts of the run share, one after the other.
    """

    def __init__(self, dialect: Dialect, client: Client) -> None:
        self._dialect = dialect
        self.client = client
        self._opened: ExitStack | None = None

    def open(self) -> None:
        """Opens it, unless it is open."""
        if self._opened is None:
            with ExitStack() as stack:
                stack.enter_context(self._dialect.kept_open(self.client))
                self._opened = stack.pop_all()

    def wait_until_free(self) -> None:
        """Waits until no other program has its file open, unless this run has."""
        if self._dialect.is_file and self._opened is None:
            self.open()
            self.close()

    def close(self) -> None:
        """Closes it, unless it is closed."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()


def run_client(pipeline: dlt.Pipeline, patience_seconds: float) -> Client:
    """Returns the client that a pipeline's run uses; a new one when none is at work.

    Args:
        pipeline: The pipeline.
        patience_seconds: How long to wait for a DuckDB file that another program has open.
    """
    held = _held_datasets.get(_key(pipeline))
    return held.client if held else client_of(pipeline, patience_seconds)


def keep_open(pipeline: dlt.Pipeline) -> None:
    """Keeps the dataset that a pipeline's run holds open, until it waits for Protime or ends."""
    if held := _held_datasets.get(_key(pipeline)):
        held.open()


def wait_until_free(pipeline: dlt.Pipeline) -> None:
    """Waits until a pipeline's run can open its file: dlt opens it next, and would not wait."""
    if held := _held_datasets.get(_key(pipeline)):
        held.wait_until_free()


def let_readers_in(pipeline: dlt.Pipeline) -> None:
    """Closes the dataset that a pipeline's run holds: others may read while Protime is asked."""
    if held := _held_datasets.get(_key(pipeline)):
        held.close()


@contextmanager
def one_run_on_dataset(
    pipeline: dlt.Pipeline, patience_seconds: float, client: Client | None = None
) -> Iterator[None]:
    """Holds the pipeline's lock, and its dataset, for as long as the context lasts.

    Args:
        pipeline: The pipeline.
        patience_seconds: How long to wait for a DuckDB file that another program has open.
        client: The client that the run is to share; by default, one is made.

    Raises:
        AlreadyRunningError: When another run holds one of them.
    """
    with one_run(pipeline.working_dir):
        # Whoever holds the folder's lock is the one that holds the dataset, if it is held.
        key = _key(pipeline)
        if key in _held_datasets:
            yield
            return
        holder = _identity(pipeline.working_dir)
        dialect = dialect_of(pipeline)
        shared = client or client_of(pipeline, patience_seconds)
        # A file is its own lock, and a client costs 23 ms to make.
        only_run: AbstractContextManager[None] = nullcontext()
        if not dialect.is_file:
            only_run = dialect.one_run(client_of(pipeline, patience_seconds), holder)
        with only_run, closing(_HeldDataset(dialect, shared)) as held:
            _held_datasets[key] = held
            try:
                yield
            finally:
                del _held_datasets[key]


def _key(pipeline: dlt.Pipeline) -> tuple[str, str, int]:
    """Also the destination: `pipeline.run(destination=...)` changes it after its first hook."""
    return pipeline.working_dir, str(pipeline.dataset_name), id(pipeline.destination)


def _identity(working_dir: str) -> str:
    """What identifies the working folder among those of all machines; in a file beside it."""
    file = beside(working_dir, "id")
    if not file.exists():
        file.write_text(uuid4().hex)
    return file.read_text()


def beside(working_dir: str, ending: str) -> Path:
    """Returns a file beside the working folder, which may be deleted during a run."""
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
    file = beside(working_dir, "lock")
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
