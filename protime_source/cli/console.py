"""What a person at a terminal, or a scheduler's log, gets to see during a run."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import Self, TextIO

import dlt

from protime_source.sync.counts import progress

_PACKAGE = logging.getLogger("protime_source")
_DLT = logging.getLogger("dlt")


def write(stream: TextIO | None, text: str) -> None:
    """Writes a text as well as a stream can: what a run did does not depend on who reads of it.

    Args:
        stream: Standard output or error; `None` when it was closed before Python started.
        text: Characters that the stream's encoding lacks are written as their escapes in Python.
    """
    if stream is None:
        return
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except (OSError, ValueError):  # the reader has gone, the log's disk is full; it is closed
        _discard_rest(stream)


def _discard_rest(stream: TextIO) -> None:
    """Python writes what a stream still holds when it ends, and would end with 120."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Console(logging.Handler):
    """Shows warnings and progress: progress in place in a terminal, line by line in a log.

    dlt logs each attempt of a job that fails with its whole stack trace. That is kept back, unless
    somebody asked for dlt's log by setting `runtime.log_level`.

    Args:
        stream: Where to, usually standard error.
    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(logging.INFO)
        self._stream = stream
        self._in_place = stream is not None and stream.isatty()
        self._open = False
        self.collections = 0

    def __enter__(self) -> Self:
        _DLT.addFilter(self._of_dlt)
        _PACKAGE.addHandler(self)
        _PACKAGE.setLevel(logging.INFO)
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()
        _DLT.removeFilter(self._of_dlt)
        _PACKAGE.removeHandler(self)
        _PACKAGE.setLevel(logging.NOTSET)

    def emit(self, record: logging.LogRecord) -> None:
        """Shows one record."""
        text = record.getMessage()
        if record.name == progress.name and self._in_place:
            self._clear()
            write(self._stream, text)
            self._open = True
        else:
            self.line(text if record.levelno < logging.WARNING else f"warning: {text}")

    def line(self, text: str) -> None:
        """Shows one line that stays."""
        self._clear()
        write(self._stream, f"{text}\n")

    def show(self, text: str) -> None:
        """Shows a result, on standard output."""
        self._clear()
        write(sys.stdout, f"{text}\n")

    def _of_dlt(self, _: logging.LogRecord) -> bool:
        return dlt.config.get("runtime.log_level") is not None

    def _clear(self) -> None:
        if self._open:
            write(self._stream, "\r\x1b[K")
            self._open = False
