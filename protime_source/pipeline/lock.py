"""One run at a time: two on one pipeline would load each other's half-written files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import Literal

from filelock import FileLock, Timeout

from protime_source.errors import AlreadyRunningError

Holder = Literal["command", "run", "source"]

_locks: dict[Path, FileLock] = {}
_holders: dict[Path, set[tuple[Holder, int]]] = {}
"""Who is in, and on which thread: a run and its source share the lock, two runs do not."""


def _start_anew() -> None:
    """In a forked child: its parent's locks are not its own."""
    _locks.clear()
    _holders.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


@contextmanager
def one_run(working_dir: str, holder: Holder = "run") -> Iterator[None]:
    """Keeps other runs out for as long as the context lasts.

    Args:
        working_dir: The pipeline's working folder, which need not exist.
        holder: Who takes the lock; those within one thread share it.

    Raises:
        AlreadyRunningError: When another run is in.
    """
    hold(working_dir, holder)
    try:
        yield
    finally:
        let_go(working_dir, holder)


def hold(working_dir: str, holder: Holder) -> None:
    """Takes the pipeline's lock, or shares it within this thread. It dies with the process.

    Raises:
        AlreadyRunningError: When another process or thread has it.
    """
    path, thread = _path(working_dir), get_ident()
    lock = _locks.setdefault(path, FileLock(path, timeout=0, thread_local=False))
    holders = _holders.setdefault(path, set())
    try:
        if not lock.is_locked:
            lock.acquire()
        elif any(owner != thread for _, owner in holders):
            raise Timeout(str(path))
    except Timeout:
        raise AlreadyRunningError(
            f"Another run of the pipeline {Path(working_dir).name} is at work in {working_dir}."
            " This one has done nothing; it is not needed, or start it again when the other has"
            " ended."
        ) from None
    holders.add((holder, thread))


def let_go(working_dir: str, holder: Holder) -> None:
    """Gives the lock back when nobody else in this process holds it."""
    path, mine = _path(working_dir), (holder, get_ident())
    holders = _holders.get(path, set())
    if mine in holders:
        holders.remove(mine)
        if not holders:
            _locks[path].release()


def _path(working_dir: str) -> Path:
    """Beside the working folder, which may be thrown away during a run."""
    folder = Path(working_dir).absolute()
    return folder.with_name(f".{folder.name}.lock")
