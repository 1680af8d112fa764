"""What a person at a terminal, or a scheduler's log, gets to see during a run."""

from __future__ import annotations

import logging
from typing import Self, TextIO

import dlt

from protime_source.sync.counts import progress

_PACKAGE = logging.getLogger("protime_source")
_DLT = logging.getLogger("dlt")


class Console(logging.Handler):
    """Shows warnings and progress: progress in place in a terminal, line by line in a log.

    dlt logs each attempt of a job that fails with its whole stack trace. That is kept back, unless
    somebody asked for dlt's log by setting `runtime.log_level`.

    Args:
        stream: Where to, usually standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(logging.INFO)
        self._stream = stream
        self._in_place = stream.isatty()
        self._open = False

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
            self._stream.write(text)
            self._stream.flush()
            self._open = True
        else:
            self.line(text if record.levelno < logging.WARNING else f"warning: {text}")

    def line(self, text: str) -> None:
        """Shows one line that stays."""
        self._clear()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def _of_dlt(self, _: logging.LogRecord) -> bool:
        return dlt.config.get("runtime.log_level") is not None

    def _clear(self) -> None:
        if self._open:
            self._stream.write("\r\x1b[K")
            self._open = False
