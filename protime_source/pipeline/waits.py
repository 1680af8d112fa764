"""Waits for other sessions in the destination: said, bounded, and ended by a stop."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from select import select
from typing import Self

import dlt
from dlt.common.exceptions import SignalReceivedException
from dlt.common.runtime import signals

from protime_source.errors import ProtimeError, WarehouseError, causes
from protime_source.warehouse.dialect import dialect_of
from protime_source.warehouse.sessions import Sessions, Wait

logger = logging.getLogger(__name__)

MAX_WAIT_SECONDS = 300.0
"""How long a run waits for a session of somebody else."""

LOOK_SECONDS = 2.0
"""How often a run looks whether it waits; a shorter one never does."""

_STOPPING_LOOK_SECONDS = 0.5
_LAST_LOOK_SECONDS = 5.0
_END = 0
"""In the wake-up file, where a signal writes its number."""


class WaitWatch:
    """A thread that looks what this process waits for in the destination.

    Drivers wait in C, where Python runs no handler of a signal. So a stop is read from Python's
    wake-up file, into which a signal writes at once.

    Args:
        sessions: The sessions of this process.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._said: set[tuple[int, str]] = set()
        self._expired: Wait | None = None
        self._stop = 0
        self._events, self._wake_up = socket.socketpair()
        self._wake_up.setblocking(False)
        self._thread = threading.Thread(target=self._watch, name="protime-waits", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._wake_up:
            self._wake_up.send(bytes([_END]))
        self._thread.join(_LAST_LOOK_SECONDS)

    @contextmanager
    def woken_by_signals(self) -> Iterator[None]:
        """Has signals write into its wake-up file, where Python and an event loop let it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.set_wakeup_fd(self._wake_up.fileno(), warn_on_full_buffer=False)
        if before != -1:
            signal.set_wakeup_fd(before)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)

    def problem(self) -> BaseException | None:
        """Returns why it cancelled what this process did; None when it did not."""
        if self._stop:
            return SignalReceivedException(self._stop)
        return WarehouseError(_advice(self._expired)) if self._expired else None

    def _watch(self) -> None:
        with self._events, closing(self._sessions):
            while True:
                pause = _STOPPING_LOOK_SECONDS if self._stop else LOOK_SECONDS
                ready, _, _ = select([self._events], [], [], pause)
                events = self._events.recv(64) if ready else b""
                if _END in events:
                    return
                for number in (signal.SIGINT, signal.SIGTERM):
                    if number in events:
                        self._stop = number
                try:
                    self._look()
                except Exception as error:  # the run itself meets what is wrong
                    logger.debug("Cannot look what this run waits for: %s", type(error).__name__)
                    self._sessions.close()

    def _look(self) -> None:
        if not self._stop and signals.was_signal_received():
            self._stop = getattr(signals.exception_for_signal(), "signal_code", 0)
        if self._stop:
            self._sessions.cancel_all()
            return
        waits = self._sessions.waits()
        for wait in waits:
            if (wait.blocker, wait.table_name) not in self._said:
                self._said.add((wait.blocker, wait.table_name))
                logger.warning("%s", _progress(wait))
        # dlt tries a job that failed again: the second time, there is no use in waiting.
        too_long = [w for w in waits if self._expired or w.seconds >= MAX_WAIT_SECONDS]
        if too_long:
            self._expired = self._expired or too_long[0]
            self._sessions.cancel([wait.session for wait in too_long])


_WATCHES: dict[tuple[str, int], WaitWatch] = {}
"""Those at work, by pipeline and thread."""


@contextmanager
def bounded_waits(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Bounds the waits of a pipeline's run, or of a part of it, in its destination; re-entrant.

    Args:
        pipeline: The pipeline.

    Raises:
        SignalReceivedException: In place of the driver's error when a stop cancelled a statement.
        WarehouseError: The same when the run waited too long.
    """
    key = pipeline.working_dir, threading.get_ident()
    with ExitStack() as stack:
        if key not in _WATCHES:
            sessions = stack.enter_context(dialect_of(pipeline).sessions(pipeline))
            if sessions is not None:
                watch = stack.enter_context(WaitWatch(sessions))
                stack.enter_context(watch.woken_by_signals())
                _WATCHES[key] = watch
                stack.callback(_WATCHES.pop, key)
        try:
            yield
        except Exception as error:
            problem = _WATCHES[key].problem() if key in _WATCHES else None
            if problem is None or any(isinstance(each, ProtimeError) for each in causes(error)):
                raise
            raise problem from error


def _progress(wait: Wait) -> str:
    reads = "reads the table" if wait.only_reads else "has locked it"
    return (
        f"{wait.table_name or 'The destination'}: waiting for {wait.blocking_session}, which"
        f" {reads}. This run goes on when that transaction ends, and stops after"
        f" {MAX_WAIT_SECONDS / 60:.0f} minutes."
    )


def _advice(wait: Wait) -> str:
    return (
        f"{wait.table_name or 'The destination'} could not be changed, because"
        f" {wait.blocking_session} kept it locked for {MAX_WAIT_SECONDS / 60:.0f} minutes, so this"
        " run stopped waiting. End that transaction, then run again; Postgres' setting"
        " idle_in_transaction_session_timeout ends forgotten ones by itself."
    )
