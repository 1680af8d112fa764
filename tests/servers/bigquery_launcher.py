"""Starts `local-bigquery` offline; run by the emulator's own interpreter.

It connects with `config={"TimeZone": ...}`, for which DuckDB downloads an extension that is linked
in already. To set the time zone after connecting does the same without a download.
"""

import sys
from typing import Any

import duckdb
from local_bigquery.cli import main  # type: ignore[import-not-found]

_connect = duckdb.connect


def connect(*arguments: Any, **settings: Any) -> duckdb.DuckDBPyConnection:
    """Does what `duckdb.connect` does."""
    settings["config"] = dict(settings.get("config") or {})
    time_zone = settings["config"].pop("TimeZone", None)
    connection = _connect(*arguments, **settings)
    connection.execute("SET threads = 1")  # its tables are tiny: more threads only take more time
    if time_zone:
        connection.execute(f"SET TimeZone = '{time_zone}'")
    return connection


duckdb.connect = connect
sys.exit(main())
