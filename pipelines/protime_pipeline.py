"""Loads a Protime tenant into the configured warehouse: everything at first, then changes only.

    uv run pipelines/protime_pipeline.py [--full-resync]

Run it on a schedule, at least every two days: Protime forgets a delta that is not used for 72
hours, and then a full load is needed. docs/settings.md lists the settings.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType


def _stop(number: int, _: FrameType | None) -> None:
    """Exits at once with one line instead of a stack trace; it is safe to stop at any moment."""
    again = " If nothing was loaded yet, pass --full-resync again." if len(sys.argv) > 1 else ""
    line = f"Stopped on request. The next run resumes where this one stopped.{again}"
    os.write(2, f"\nerror: {line}\n".encode())
    os._exit(128 + number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    text = "load everything again, and soft-delete rows that are no longer there"
    parser.add_argument("--full-resync", action="store_true", help=text)
    return parser.parse_args()


if __name__ == "__main__":
    # First of all, because importing dlt takes a second, in which somebody may press Ctrl-C too.
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    arguments = _arguments()

    from protime_source.cli.main import main

    sys.exit(main(full_resync=arguments.full_resync))
