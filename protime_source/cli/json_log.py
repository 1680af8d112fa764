"""A run for a log collector: each event is one line of JSON, as dlt writes its own log."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Mapping
from typing import Any, TextIO

import dlt
from dlt.common.configuration.providers.toml import TomlProviderReadException
from dlt.common.runtime.json_logging import JSONLogFormatter

from protime_source.cli import signals
from protime_source.cli.console import DLT, PACKAGE, Console, write


def is_wanted() -> bool:
    """Whether dlt's setting `runtime.log_format` asks for JSON."""
    try:
        return dlt.config.get("runtime.log_format") == "JSON"
    except TomlProviderReadException:  # the command will say so
        return os.environ.get("RUNTIME__LOG_FORMAT") == "JSON"


class JsonConsole(Console):
    """Writes events as JSON, in place of all that a person would read of a run.

    Args:
        stream: Usually standard error, to which dlt logs too.
    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream, in_place=False)
        formatters = (handler.formatter for handler in DLT.handlers)
        of_dlt = (each for each in formatters if isinstance(each, JSONLogFormatter))
        self.setFormatter(next(of_dlt, JSONLogFormatter()))

    def __enter__(self) -> JsonConsole:
        super().__enter__()
        signals.report_with(self._stopped)
        return self

    def __exit__(self, *_: object) -> None:
        signals.report_with(None)
        super().__exit__()

    def begin(self, collections: tuple[str, ...], **details: str) -> None:
        """Logs that the command begins, and with what."""
        super().begin(collections)
        extra = {"event": "start", "collections": list(collections), **details}
        PACKAGE.info("The command begins.", extra=extra)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        record = copy.copy(record)
        counts = record.__dict__.pop("counts", None)
        if counts is not None:
            self._progress.follow(counts)
        if record.levelno < logging.INFO:
            return
        if counts is not None:
            record.msg, record.args = self._progress.line(counts.table_name), ()
            record.__dict__ |= {"event": "progress", **self._numbers(counts.table_name)}
        write(self._stream, f"{self.format(record)}\n")

    def fail(self, message: str, exit_code: int) -> None:
        """Logs why the command fails."""
        PACKAGE.error("%s", message, extra={"event": "error", "exit_code": exit_code})

    def show(self, text: str, fields: Mapping[str, Any] | None = None) -> None:
        """Logs what a run did; a result that was asked for goes to standard output."""
        if fields is None:
            super().show(text)
        else:
            PACKAGE.info("The run has ended.", extra={"event": "summary", **fields})

    def _numbers(self, table_name: str) -> dict[str, Any]:
        progress = self._progress
        share, seconds = progress.share(table_name), progress.seconds_left(table_name)
        return {
            "table_name": table_name,
            "rows": progress.rows(table_name),
            "rows_per_second": round(progress.rows_per_second(table_name)),
            "share": None if share is None else round(share, 3),
            "seconds_left": None if seconds is None else round(seconds),
            "collections_read": progress.collections_read,
            "collections_total": progress.expected,
        }

    def _stopped(self, message: str, exit_code: int) -> str:
        place = (__name__, logging.ERROR, __file__, 0, message, (), None)
        extra = {"event": "error", "exit_code": exit_code}
        return f"{self.format(PACKAGE.makeRecord(*place, extra=extra))}\n"
