"""Processes that are forked from one that has imported all: a start costs little else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb

CONTEXT = get_context("forkserver")
_ROOT = Path(__file__).parents[1]
_BEFORE = dict(os.environ)


def fork(target: Callable[..., object], *arguments: Any) -> ForkServerProcess:
    """Calls a function in a process that knows of no test's settings, and is in its folder."""
    CONTEXT.set_forkserver_preload(["tests.preloaded"])
    with mock.patch.dict(os.environ, _environment(), clear=True):
        forkserver.ensure_running()
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


@contextmanager
def open_elsewhere(database: Path) -> Iterator[Callable[[], None]]:
    """Another program that has DuckDB's file open, as a notebook does; the way to close it."""
    ours, theirs = CONTEXT.Pipe()
    process = fork(_keep_open, str(database), theirs)
    theirs.close()
    with ours:
        ours.recv()
        yield ours.close
    process.join()


def _keep_open(database: str, parent: Connection) -> None:
    with duckdb.connect(database):
        parent.send("open")
        parent.poll(None)


def _environment() -> dict[str, str]:
    """That of the tests before any of them began.

    Python 3.11 does not tell the server where our modules are, and it would go on without.
    """
    path = os.pathsep.join(filter(None, (str(_ROOT), _BEFORE.get("PYTHONPATH"))))
    return {**_BEFORE, "PYTHONPATH": path}
