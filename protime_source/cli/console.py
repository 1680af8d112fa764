"""What a person at a terminal, or a scheduler's log, gets to see during a run."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TextIO

import dlt

from protime_source.cli.progress import Progress
from protime_source.sync.counts import progress

if TYPE_CHECKING:
    from protime_source.cli.display import Display

PACKAGE = logging.getLogger("protime_source")
DLT = logging.getLogger("dlt")


def write(stream: TextIO | None, text: str) -> bool:
    """Writes a text as well as a stream can: what a run did does not depend on who reads of it.

    Args:
        stream: Standard output or error; `None` when it was closed before Python started.
        text: Characters that the stream's encoding lacks are written as their escapes in Python.

    Returns:
        Whether the stream took it.
    """
    if stream is None:
        return False
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except (OSError, ValueError):  # the reader has gone, the log's disk is full; it is closed
        _discard_rest(stream)
        return False
    return True


def _discard_rest(stream: TextIO) -> None:
    """Python writes what a stream still holds when it ends, and would end with 120."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal that can move its cursor and show colours."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


class Console(logging.Handler):
    """Shows warnings and progress: progress in place in a terminal, line by line in a log.

    dlt logs each attempt of a job that fails with its whole stack trace. That is hidden
    unless `runtime.log_level` is set.

    Args:
        stream: Usually standard error.
        in_place: Whether a terminal shows progress in place.
    """

    def __init__(self, stream: TextIO | None, *, in_place: bool = True) -> None:
        super().__init__(logging.DEBUG)
        self._stream = stream
        self._progress = Progress()
        self._display: Display | None = None
        if in_place and stream is not None and is_terminal(stream):
            from protime_source.cli.display import Display

            self._display = Display(stream, self._progress)

    def __enter__(self) -> Self:
        DLT.addFilter(self._of_dlt)
        PACKAGE.addHandler(self)
        PACKAGE.setLevel(logging.INFO)
        progress.setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        DLT.removeFilter(self._of_dlt)
        PACKAGE.removeHandler(self)
        PACKAGE.setLevel(logging.NOTSET)
        progress.setLevel(logging.NOTSET)

    def begin(self, collections: tuple[str, ...], **_: str) -> None:
        """Says which collections a run will read, so that progress can be told."""
        self._progress.begin(len(collections))
        if self._display is not None:
            self._display.start()

    def doing(self, text: str) -> None:
        """Says in a terminal what takes its time, until there are numbers."""
        self._progress.latest = text

    def emit(self, record: logging.LogRecord) -> None:
        """Shows one record."""
        text = record.getMessage()
        counts = getattr(record, "counts", None)
        if counts is not None:
            self._progress.follow(counts)
        if record.levelno < logging.INFO:
            return
        if record.levelno >= logging.WARNING:
            self.line(f"warning: {text}")
        elif self._display is not None and record.name == progress.name:
            self._progress.latest = "" if counts is not None else text
        else:
            self.line(text if counts is None else self._progress.line(counts.table_name))

    def fail(self, message: str, exit_code: int) -> None:
        """Says in one line why the command fails."""
        self.line(f"error: {message}")

    def line(self, text: str) -> None:
        """Shows one line that stays."""
        if self._display is not None:
            self._display.line(text)
        else:
            write(self._stream, f"{text}\n")

    def show(self, text: str, fields: Mapping[str, Any] | None = None) -> None:
        """Shows a result on standard output: a table, and sentences about it.

        Args:
            text: The result.
            fields: The same for a log, when it says what a run did.
        """
        self._stop()
        if sys.stdout is not None and is_terminal(sys.stdout):
            from protime_source.cli.display import show_result

            show_result(sys.stdout, text)
        else:
            write(sys.stdout, f"{text}\n")

    def _of_dlt(self, _: logging.LogRecord) -> bool:
        return dlt.config.get("runtime.log_level") is not None

    def _stop(self) -> None:
        if self._display is not None:
            self._display.stop()
