"""Opens the pictures of the plan in the browser: `protime notebook`, from a clone.

    uv run pipelines/assignments_analysis.py [--pipeline protime_demo]

The notebook itself is `protime_source/reporting/notebook.py`, so that the installed package has it.
"""

from __future__ import annotations

import sys

from protime_source.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["notebook", *sys.argv[1:]]))
