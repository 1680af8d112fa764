"""What the processes of `tests.processes` have imported when they begin, as the command would."""

from __future__ import annotations

import gc
import sys
from importlib import import_module

from protime_source.cli import main

sys.meta_path.insert(0, main._Hidden())
for _name in (
    "tests.command",
    "tests.kill_points",
    "protime_source.cli.pipeline",
    "protime_source.pipeline.load",
    "adbc_driver_postgresql.dbapi",
    "psycopg2.sql",
    "pyarrow.dataset",
):
    import_module(_name)
import_module("tests.dlt_shortcuts").take_shortcuts()
gc.freeze()  # to look through what is imported would copy the memory that it is in
