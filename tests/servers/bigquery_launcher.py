"""Starts `local-bigquery` offline and in memory; run by the emulator's interpreter.

Its tables are DuckDB's own in place of DuckLake's, which are files and a catalog in tables; its
jobs are in a dict in place of a table; and it answers over REST alone. A statement takes a third of
the CPU time then.
"""

from __future__ import annotations

import gc
import sys
from typing import Any

import duckdb

RESULTS = 50
"""Jobs that are kept: the result of each is a table, which makes all statements take longer."""

_COLUMNS_OF_ALL = (
    "FROM duckdb_columns() WHERE database_name = ? AND schema_name = ? AND table_name = ?"
)
_COLUMNS_OF_ONE = (
    'FROM (SELECT name AS column_name, NOT "notnull" AS is_nullable FROM pragma_table_info(?))'
    " WHERE TRUE"
)

_connect = duckdb.connect


def connect(*arguments: Any, **settings: Any) -> duckdb.DuckDBPyConnection:
    """Does what `duckdb.connect` does.

    The emulator connects with `config={"TimeZone": ...}`, for which DuckDB downloads an extension
    that is linked in already. To set the time zone after connecting needs none.
    """
    settings["config"] = dict(settings.get("config") or {})
    time_zone = settings["config"].pop("TimeZone", None)
    connection = _connect(*arguments, **settings)
    connection.execute("SET threads = 1")  # its tables are tiny: more threads only take more time
    if time_zone:
        connection.execute(f"SET TimeZone = '{time_zone}'")
    return connection


def keep_in_memory() -> None:
    """Has the emulator keep projects and jobs in memory."""
    from local_bigquery.engine import database  # type: ignore[import-not-found]
    from local_bigquery.jobs import store  # type: ignore[import-not-found]

    def attach(connection: duckdb.DuckDBPyConnection, project_id: str) -> None:
        connection.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {database.quote(project_id)}")
        database._attached.add(project_id)

    jobs: dict[tuple[str, str], Any] = {}

    def save(job: Any) -> Any:
        jobs[job.jobReference.projectId, job.jobReference.jobId] = job
        if len(jobs) > RESULTS:
            project, oldest = next(iter(jobs))
            del jobs[project, oldest]
            table = database.quote("emulator", "_results", f"{project}:{oldest}")
            database.execute(f"DROP TABLE IF EXISTS {table}")
        return job

    look = database.fetch

    def fetch(sql: str, values: list[Any] | None = None) -> Any:
        if values is None or _COLUMNS_OF_ALL not in sql:
            return look(sql, values)
        table = database.quote(*values[:3])
        try:
            return look(sql.replace(_COLUMNS_OF_ALL, _COLUMNS_OF_ONE), [table, *values[3:]])
        except duckdb.CatalogException:
            return []  # there is no such table

    database._attach, database.fetch = attach, fetch
    database.projects = lambda: sorted(database._attached)
    store.save, store.load = save, lambda *key: jobs.get(key)


def serve(host: str, project: str, folder: str) -> None:
    """Serves a project for good, on a free port."""
    import uvicorn
    from local_bigquery import app  # type: ignore[import-not-found]
    from local_bigquery.settings import settings  # type: ignore[import-not-found]

    settings.bigquery_host, settings.bigquery_port = host, 0
    settings.default_project_id, settings.data_dir = project, type(settings.data_dir)(folder)
    keep_in_memory()
    gc.freeze()
    gc.set_threshold(50_000)
    uvicorn.run(app, host=host, port=0, access_log=False)


if __name__ == "__main__":
    duckdb.connect = connect
    sys.modules["pandas"] = None  # type: ignore[assignment] # DuckDB would look for it again and again
    serve(*sys.argv[1:])
