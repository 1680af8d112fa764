"""One run at a time: two on one pipeline would load each other's half-written files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import Literal

import dlt
from filelock import FileLock, Timeout

from protime_source.errors import AlreadyRunningError

Holder = Literal["run", "source"]

_locks: dict[Path, FileLock] = {}
_holders: dict[Path, set[tuple[Holder, int]]] = {}
"""Who is in, and on which thread: a run and its source share the lock, two runs do not."""


@contextmanager
def one_run(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Keeps other runs out for as long as the context lasts.

    Raises:
        AlreadyRunningError: When another run is in.
    """
    hold(pipeline, "run")
    try:
        yield
    finally:
        let_go(pipeline, "run")


def hold(pipeline: dlt.Pipeline, holder: Holder) -> None:
    """Takes the pipeline's lock, or shares it within this thread. It dies with the process.

    Raises:
        AlreadyRunningError: When another process or thread has it.
    """
    path, thread = _path(pipeline), get_ident()
    lock = _locks.setdefault(path, FileLock(path, timeout=0, thread_local=False))
    holders = _holders.setdefault(path, set())
    try:
        if not lock.is_locked:
            lock.acquire()
        elif any(owner != thread for _, owner in holders):
            raise Timeout(str(path))
    except Timeout:
        raise AlreadyRunningError(
            f"Another run of the pipeline {pipeline.pipeline_name} is at work in"
            f" {pipeline.working_dir}. This one has done nothing; it is not needed, or start it"
            " again when the other has ended."
        ) from None
    holders.add((holder, thread))


def let_go(pipeline: dlt.Pipeline, holder: Holder) -> None:
    """Gives the lock back when nobody else in this process holds it."""
    path, mine = _path(pipeline), (holder, get_ident())
    holders = _holders.get(path, set())
    if mine in holders:
        holders.remove(mine)
        if not holders:
            _locks[path].release()


def _path(pipeline: dlt.Pipeline) -> Path:
    """Beside the working folder, which may be thrown away during a run."""
    return Path(pipeline.pipelines_dir) / f".{pipeline.pipeline_name}.lock"
