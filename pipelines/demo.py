"""Shows the main job against a demo tenant: `protime demo`, from a clone.

    uv run pipelines/demo.py

No account needed, nothing to set. A small Protime runs on this machine, and a pipeline follows it
over real HTTP into `protime_demo.duckdb`: a first load, changes and deletes, an expired delta.
"""

from __future__ import annotations

import sys

from protime_source.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
