"""How a command ends on Ctrl-C or SIGTERM."""

from __future__ import annotations

import os
import signal
from types import FrameType

_CLEAR_LINE_SHOW_CURSOR = b"\r\x1b[K\x1b[?25h"


def stop_at_once(consequence: str) -> None:
    """On Ctrl-C or SIGTERM, ends with one line instead of a stack trace.

    Call it before dlt is imported, because a user may press Ctrl-C during that second too.

    Args:
        consequence: What it means for the data; it is safe to stop at any moment.
    """

    def stop(number: int, _: FrameType | None) -> None:
        if os.isatty(2):
            os.write(2, _CLEAR_LINE_SHOW_CURSOR)
        os.write(2, f"\nerror: Stopped on request. {consequence}\n".encode())
        os._exit(128 + number)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
