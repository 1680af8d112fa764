"""The command `protime`, as `python -m protime_source`."""

from __future__ import annotations

import sys

from protime_source.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
