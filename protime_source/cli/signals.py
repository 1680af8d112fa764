"""How a command ends on Ctrl-C or SIGTERM."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

from protime_source.pipeline.text import wrap

_CLEAR_LINE_SHOW_CURSOR = "\r\x1b[K\x1b[?25h"


def _for_people(message: str, exit_code: int) -> str:
    text = f"error: {message}"
    if os.isatty(2):
        text = _CLEAR_LINE_SHOW_CURSOR + "\n".join(wrap(text, ""))
    return f"\n{text}\n"


_report: Callable[[str, int], str] = _for_people


def report_with(report: Callable[[str, int], str] | None) -> None:
    """Sets what makes a message and an exit code the text to write; `None` for people again."""
    global _report
    _report = report or _for_people


def stop_at_once(consequence: str) -> None:
    """On Ctrl-C or SIGTERM, ends with one line instead of a stack trace.

    Call it before dlt is imported, because a user may press Ctrl-C during that second too.

    Args:
        consequence: What it means for the data; it is safe to stop at any moment.
    """

    def stop(number: int, _: FrameType | None) -> None:
        text = _report(f"Stopped on request. {consequence}", 128 + number)
        os.write(2, text.encode())
        os._exit(128 + number)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
