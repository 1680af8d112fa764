"""Shows the main job against a demo tenant: no account needed, nothing to set.

    uv run pipelines/demo.py

A small Protime runs on this machine, and a pipeline follows it over real HTTP into
`protime_demo.duckdb`: a first load, changes and deletes, an expired delta.
"""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C just ends the story

    from protime_source.demo.story import main

    sys.exit(main())
