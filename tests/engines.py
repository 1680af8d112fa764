"""The engines that the source loads into, as the tests use them."""

from __future__ import annotations

import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, ClassVar
from unittest import mock

import dlt
import duckdb
import psycopg2  # type: ignore[import-untyped]
import pytest
from dlt.common.destination import Destination
from dlt.destinations.impl.ducklake.configuration import DuckLakeCredentials
from google.api_core.exceptions import NotFound
from psycopg2.extras import register_default_json  # type: ignore[import-untyped]

from protime_source.warehouse import lease
from tests.servers.bigquery import BigQueryServer
from tests.servers.ducklake import connect_to_lake, lake_settings

ENGINES = ("duckdb", "postgres", "bigquery")

LAKES = ("ducklake_postgres", "ducklake_sqlite")
"""DuckLake with its catalog in Postgres and in SQLite."""

ALSO_LAKES = LAKES if os.environ.get("PROTIME_LAKES") else ()
"""All rules run on them by `PROTIME_LAKES=1 uv run pytest -k ducklake`; they are slow."""

every_engine = pytest.mark.parametrize("engine", ENGINES + ALSO_LAKES, indirect=True)
"""For the rules that must hold anywhere. A run on BigQuery takes seconds: its jobs are polled."""

sql_engines = pytest.mark.parametrize("engine", ENGINES[:2] + ALSO_LAKES, indirect=True)
"""For the many ways in which a rule can be tried."""

lakes = pytest.mark.parametrize("engine", LAKES, indirect=True)
"""For the few rules that are tried on them always."""

_only_lakes = pytest.mark.skipif(not ALSO_LAKES, reason="PROTIME_LAKES is not set")

all_lakes = pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=_only_lakes) for name in LAKES], indirect=True
)
"""For what is DuckLake's own."""

Result = tuple[list[str], list[tuple[Any, ...]]]
Restore = Callable[[], None]


class Engine(ABC):
    """A warehouse of one test's own."""

    name: ClassVar[str]
    dataset = "protime_data"

    @abstractmethod
    def destination(self) -> Destination[Any, Any]:
        """Dlt's destination."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """What leads the command line there."""

    @abstractmethod
    def holds(self, table: str) -> bool:
        """Whether the table is there."""

    @contextmanager
    def aside(self) -> Iterator[Engine]:
        """The same data for somebody whose look must change nothing, no file either."""
        yield self

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Spares a run to open the database again and again, where that takes long."""
        yield

    @abstractmethod
    def ask(self, sql: str) -> Result:
        """Runs a statement with the engine's own client: names of columns, and rows."""

    def close(self) -> None:  # noqa: B027 - most engines keep nothing
        """Closes what `kept_open` has left open, so that another process can open it."""

    def keys(self, table: str) -> list[str]:
        """Columns by which the engine finds a row of a table without looking at all of them."""
        return []

    def end_lease(self) -> None:  # noqa: B027 - most engines have none
        """Ends what a killed run of another machine still holds; elsewhere it ends with the run."""

    def end_locks(self) -> None:
        """Takes from whoever is at work the lock that keeps others away, where there is one."""
        self.end_lease()

    def back_up(self) -> Restore | None:
        """Copies the warehouse while nobody is connected.

        Returns:
            What puts the copy back, as often as wanted; `None` where that is not offered.
        """
        return None

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows that a statement gives."""
        return self.ask(sql)[1]


class DuckDBEngine(Engine):
    """A file, which stays open from a run to the next: each opening and closing takes 50 ms.

    Whoever asks where it is, to look at it or to lead another process there, finds it closed. That
    others can open it while a run is at work is tried by runs in a process of their own.
    """

    name = "duckdb"

    def __init__(self, database: Path) -> None:
        self._database = database
        self._kept: duckdb.DuckDBPyConnection | None = None

    @property
    def database(self) -> Path:
        """The file, closed."""
        self.close()
        return self._database

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def destination(self) -> Destination[Any, Any]:
        return dlt.destinations.duckdb(str(self._database))

    def environment(self) -> dict[str, str]:
        return {"DESTINATION__DUCKDB__CREDENTIALS": str(self.database)}

    def holds(self, table: str) -> bool:
        found = self.query(
            "SELECT count(*) FROM information_schema.tables"
            f" WHERE table_schema = '{self.dataset}' AND table_name = '{table}'"
        )
        return found != [(0,)]

    @contextmanager
    def aside(self) -> Iterator[Engine]:
        """A copy: opening a file after a kill writes its log into it, which a next run must do."""
        with TemporaryDirectory(prefix="aside-") as folder:
            for path in self._database.parent.glob(f"{self._database.name}*"):
                shutil.copy(path, folder)
            copy = type(self)(Path(folder) / self._database.name)
            copy.dataset = self.dataset
            yield copy

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """From its first use in this context until somebody asks for the file."""
        connect = duckdb.connect

        def connect_and_keep(database: Any, **settings: Any) -> duckdb.DuckDBPyConnection:
            is_ours = str(database) == str(self._database) and not settings.get("read_only")
            if is_ours and self._kept is None:
                self._kept = connect(database, **settings)
                self._kept.execute("SET threads = 1")  # its tables are tiny
            return connect(database, **settings)

        with mock.patch("duckdb.connect", connect_and_keep):
            yield

    def back_up(self) -> Restore:
        """A copy of the file, and of its log."""
        folder = Path(mkdtemp(prefix="backup-", dir=self.database.parent))
        files = f"{self.database.name}*"
        for path in self.database.parent.glob(files):
            shutil.copy(path, folder)

        def put_back() -> None:
            for path in self.database.parent.glob(files):
                path.unlink()
            for path in folder.iterdir():
                shutil.copy(path, self.database.parent)

        return put_back

    def ask(self, sql: str) -> Result:
        with duckdb.connect(str(self._database)) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            result = connection.execute(sql)
            return [column[0] for column in result.description or ()], result.fetchall()


@dataclass
class PostgresEngine(Engine):
    """A database on the worker's server."""

    name = "postgres"
    url: str

    def destination(self) -> Destination[Any, Any]:
        return dlt.destinations.postgres(self.url)

    def environment(self) -> dict[str, str]:
        return {"DESTINATION_TYPE": "postgres", "DESTINATION__POSTGRES__CREDENTIALS": self.url}

    def holds(self, table: str) -> bool:
        found = self.query(
            "SELECT count(*) FROM information_schema.tables"
            f" WHERE table_schema = '{self.dataset}' AND table_name = '{table}'"
        )
        return found != [(0,)]

    def ask(self, sql: str) -> Result:
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            names = [column.name for column in cursor.description or ()]
            return names, list(cursor.fetchall()) if names else []

    def keys(self, table: str) -> list[str]:
        """Those of its unique indexes."""
        found = self.query(
            "SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indexrelid"
            f" WHERE indrelid = '{self.dataset}.{table}'::regclass AND indisunique AND indisvalid"
        )
        return [name for (name,) in found]

    def end_locks(self) -> None:
        """Cuts the connections that hold an advisory lock."""
        self.query(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )

    def back_up(self) -> Restore:
        """A copy of the database under another name."""
        server, _, name = self.url.rpartition("/")
        copy = f"{name}_{time.monotonic_ns()}"
        elsewhere = PostgresEngine(f"{server}/postgres")
        elsewhere.query(f"CREATE DATABASE {copy} TEMPLATE {name} STRATEGY FILE_COPY")

        def put_back() -> None:
            elsewhere.query(f"DROP DATABASE {name} WITH (FORCE)")
            elsewhere.query(f"CREATE DATABASE {name} TEMPLATE {copy} STRATEGY FILE_COPY")

        return put_back

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        connection = psycopg2.connect(self.url)
        try:
            connection.autocommit = True
            register_default_json(connection, loads=str)
            yield connection
        finally:
            connection.close()


@dataclass
class DuckLakeEngine(Engine):
    """A lake in a folder of a test's own, with its catalog in a database of the test's own."""

    name = "ducklake"
    catalog: str
    files: Path

    def destination(self) -> Destination[Any, Any]:
        credentials = DuckLakeCredentials(catalog=self.catalog, storage=str(self.files))
        return dlt.destinations.ducklake(credentials)

    def environment(self) -> dict[str, str]:
        return {"DESTINATION_TYPE": "ducklake", **lake_settings(self.catalog, self.files)}

    def holds(self, table: str) -> bool:
        found = self.query(
            "SELECT count(*) FROM information_schema.tables"
            f" WHERE table_schema = '{self.dataset}' AND table_name = '{table}'"
        )
        return found != [(0,)]

    def ask(self, sql: str) -> Result:
        with connect_to_lake(self.catalog, self.files) as connection:
            result = connection.execute(sql)
            return [column[0] for column in result.description or ()], result.fetchall()

    def exists(self) -> bool:
        """Whether there is a lake."""
        if self.catalog.startswith("sqlite"):
            return Path(self.catalog.removeprefix("sqlite:///")).exists()
        schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'ducklake'"
        return PostgresEngine(self.catalog).query(schemas) == [(1,)]

    def end_locks(self) -> None:
        """In Postgres its connections are cut, in SQLite the locked file is replaced."""
        if self.catalog.startswith("postgresql"):
            PostgresEngine(self.catalog).end_locks()
        else:
            for path in self.files.parent.glob(".*.lock"):
                path.unlink()


def lead_to_bigquery(server: BigQueryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leads dlt to the emulator, which has done a load before it answers.

    dlt lets the service a second before it asks for the first time.
    """
    for variable, value in server.environment().items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(f"{_BIGQUERY}.sleep", lambda _: time.sleep(0.01))


_BIGQUERY = "dlt.destinations.impl.bigquery.bigquery"


@dataclass
class BigQueryEngine(Engine):
    """A dataset in the worker's emulator; its environment is set for the whole test."""

    name = "bigquery"
    server: BigQueryServer
    dataset: str

    def destination(self) -> Destination[Any, Any]:
        return dlt.destinations.bigquery()

    def environment(self) -> dict[str, str]:
        return {"DESTINATION_TYPE": "bigquery", **self.server.environment()}

    def holds(self, table: str) -> bool:
        try:
            self.server.client().get_table(f"{self.dataset}.{table}")
        except NotFound:
            return False
        return True

    def ask(self, sql: str) -> Result:
        rows = self.server.client().query_and_wait(sql)
        return [field.name for field in rows.schema], [row.values() for row in rows]

    def end_lease(self) -> None:
        """As after the three minutes in which a lease ends by itself."""
        if self.holds(lease.TABLE):
            ended = "TIMESTAMP '2000-01-01 00:00:00+00:00'"
            self.ask(f"UPDATE {self.dataset}.{lease.TABLE} SET deadline = {ended} WHERE TRUE")

    def keys(self, table: str) -> list[str]:
        """What it is clustered by."""
        found = self.server.client().get_table(f"{self.dataset}.{table}").clustering_fields
        return list(found or ())
