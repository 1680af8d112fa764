"""Loads a Protime tenant into the configured warehouse: everything at first, then changes only.

    uv run pipelines/protime_pipeline.py [--full-resync]

Run it on a schedule, at least every two days: Protime forgets a delta that is not used for 72
hours, and then a full walk is needed. What can be set stands in README.md.
"""

from __future__ import annotations

import argparse
import sys


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--full-resync",
        action="store_true",
        help="walk over everything again, and mark what is no longer there",
    )
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _arguments()

    from protime_source.runner import main

    sys.exit(main(full_resync=arguments.full_resync))
