"""Loads a Protime tenant into the configured warehouse: `protime run`, from a clone.

    uv run pipelines/protime_pipeline.py [COLLECTION ...] [--full-resync]

Run it on a schedule, at least every two days: Protime forgets a delta that is not used for 72
hours, and then a full load is needed. docs/settings.md lists the settings.
"""

from __future__ import annotations

import sys

from protime_source.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
